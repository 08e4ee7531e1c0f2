"""The same attacks made on other networks: own, transferred and ensemble images side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lightning_advinterp.attacks.prediction.config import NOT_MADE_ON_OTHERS, AttackConfig
from lightning_advinterp.attacks.prediction.member import Member
from lightning_advinterp.networks.zoo.robustbench import needs_weights

TransferFrom = Member | tuple[Member | str, ...] | str | None
"""How a configuration says from which networks images are taken."""


def transferred_attacks(attacks: Sequence[AttackConfig], transfer_from: Any) -> tuple[AttackConfig, ...]:
    """Return attacks, each followed by the same one made on other networks and on all of them with the attacked one.

    Args:
        attacks: on the network under test; those that are stored, a control, or made on members already stand alone.
        transfer_from: a checkpoint, the settings of a network, the folder of a stored set, or several of these.

    Returns:
        The attacks, named ``NAME``, ``NAME_from_SOURCE`` for each source, and ``NAME_ensemble``; a stored set is
        ``from_FOLDER``.

    Raises:
        ValueError: if a source is none of these, two have one name, or no attack can be made on them.
    """
    sources = _sources(transfer_from)
    if not sources:
        return tuple(attacks)
    members = {name: source for name, source in sources.items() if isinstance(source, Member)}
    configs: list[AttackConfig] = []
    for attack in attacks:
        configs.append(attack)
        if not members or attack.members is not None or attack.type in NOT_MADE_ON_OTHERS:
            continue
        name = attack.label_name
        configs += [attack.changed(name=f"{name}_from_{key}", members=(member,)) for key, member in members.items()]
        configs.append(attack.changed(name=f"{name}_ensemble", members=tuple(members.values()), beside=True))
    if members and len(configs) == len(attacks):
        raise ValueError("transfer_from: no attack is named that can be made on other networks, such as --attack pgd.")
    stored = {name: source for name, source in sources.items() if isinstance(source, str)}
    return (*configs, *(AttackConfig("stored", name=f"from_{key}", path=path) for key, path in stored.items()))


def _sources(transfer_from: Any) -> dict[str, Member | str]:
    """Return members, and folders of stored sets, by what tables call them."""
    if isinstance(transfer_from, str) and transfer_from.lstrip().startswith(("[", "{")):
        transfer_from = yaml.safe_load(transfer_from)
    if transfer_from is None:
        return {}
    entries = [transfer_from] if isinstance(transfer_from, str | Mapping | Member) else list(transfer_from)
    named: dict[str, Member | str] = {}
    for source in map(_source, entries):
        name = _name(source)
        if name in named:
            raise ValueError(f"transfer_from: two sources are called {name!r}; give them folders of different names.")
        named[name] = source
    return named


def _source(entry: Any) -> Member | str:
    if isinstance(entry, Member):
        return entry
    if isinstance(entry, Mapping):
        return Member(**entry)
    text = str(entry)
    if Path(text).is_dir():
        return text
    if Path(text).suffix == ".ckpt" or Path(text).is_file():
        return Member(checkpoint=text)
    raise ValueError(f"transfer_from: {text!r} is no checkpoint and no folder of stored images; {needs_weights(text)}")


def _name(source: Member | str) -> str:
    if isinstance(source, str):
        return Path(source).resolve().name
    if source.checkpoint is not None:
        path = Path(source.checkpoint)
        return path.resolve().parent.name if path.stem in ("last", "best") else path.stem
    return str(source.network).rpartition("/")[2]
