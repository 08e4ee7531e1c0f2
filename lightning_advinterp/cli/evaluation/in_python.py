"""Networks and images as a user of Python has them, in the form in which an evaluation takes them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

import pytorch_lightning as pl
from torch import nn

from lightning_advinterp.analyses.results import Results
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.prediction.config import config_of
from lightning_advinterp.attacks.prediction.grammar import one_attack
from lightning_advinterp.cli.evaluation.compared import folder_of
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.memory import InMemory
from lightning_advinterp.core.names import untaken
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.data.user_images import as_image_set
from lightning_advinterp.networks.choice import NetworkChoice


@contextmanager
def flags_explained() -> Iterator[None]:
    """Say what a flag is in Python, under errors that advise one."""
    try:
        yield
    except (ValueError, OSError) as error:
        if "--" in str(error):
            error.add_note(
                "In Python, a flag --NAME VALUE is the argument NAME=VALUE, --NAME.KEY is NAME={'KEY': VALUE}."
            )
        raise


def as_attacks(attack: Any) -> Any:
    """Return ``attack`` as the settings have it: attacks that were built by the settings that they were built from.

    Args:
        attack: what the command line takes, an attack, attacks by name, or a list of these.

    Raises:
        TypeError: if an attack was built without settings.
    """
    if isinstance(attack, Attack):
        config = config_of(attack)
        if config is None:
            raise TypeError(
                f"attack: {type(attack).__name__} was built without settings; give its class path and its settings, "
                "{'type': 'mine.Attack', …}, or build it by create_attack()."
            )
        return config
    if isinstance(attack, Mapping) and any(isinstance(value, Attack) for value in attack.values()):
        return tuple(one_attack(as_attacks(value)).changed(name=str(name)) for name, value in attack.items())
    if isinstance(attack, list | tuple):
        return tuple(as_attacks(entry) for entry in attack)
    return attack


def as_question(name: str, kind: Any, value: Any) -> Any:
    """Return a question's settings as an instance.

    Args:
        name: of the question.
        kind: its class.
        value: an instance, or its settings by name.

    Raises:
        TypeError: if it has no such setting; the nearest is named.
    """
    if not isinstance(value, Mapping):
        return value
    settings = [field.name for field in fields(kind)]
    for setting in value:
        if setting not in settings:
            near = get_close_matches(str(setting), settings, 1)
            meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(settings) or 'none'}."
            raise TypeError(f"{name} has no setting {setting!r}; {meant}")
    return kind(**value)


def check_types(settings: Mapping[str, Any]) -> None:
    """Refuse flags whose type is wrong, which would show deep below.

    Raises:
        TypeError: naming the flag.
    """
    plain = (int, float, bool, str, type(None))
    for name, hint in get_type_hints(Evaluation).items():
        kinds = tuple(get_args(hint)) if isinstance(hint, UnionType) else (hint,)
        if name not in settings or not all(kind in plain for kind in kinds):
            continue
        value = settings[name]
        number = float in kinds and isinstance(value, int) and not isinstance(value, bool)
        truth = isinstance(value, bool) and bool not in kinds
        if truth or not (number or isinstance(value, kinds)):
            expected = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
            raise TypeError(f"{name} must be {expected}, got {value!r}.")


def as_memory(network: Any, images: ImageSet | None, title: str | None, beside: Mapping[str, InMemory]) -> InMemory:
    """Return network and images that are in memory.

    Args:
        network: a module, or the name of one.
        images: see :func:`as_images`.
        title: what the module is called.
        beside: further networks, see :func:`as_compared`.

    Raises:
        TypeError: if the network is neither.
        ValueError: if a title is given for a name.
    """
    if network is not None and not isinstance(network, str | nn.Module):
        raise TypeError(
            f"network must be a torch.nn.Module or the name of a network, got {_kind(network)}; a checkpoint is given "
            "as checkpoint=PATH."
        )
    if title is not None and not isinstance(network, nn.Module):
        raise ValueError(f"title={title!r} names a module in memory; leave it out, other networks have names.")
    return InMemory(network if isinstance(network, nn.Module) else None, images, title, beside)


def as_images(data: Any, split: str | None) -> ImageSet | None:
    """Return images that are in memory; None where they are named, or none are given.

    Args:
        data: a path, a data module of Lightning, or what
            :func:`~lightning_advinterp.data.user_images.as_image_set` takes.
        split: which images of a data module: val (the default), test or train.
    """
    if data is None or isinstance(data, str | Path):
        return None
    return as_image_set(_loader(data, split or "val") if isinstance(data, pl.LightningDataModule) else data)


def _loader(module: pl.LightningDataModule, split: str) -> Any:
    stages = {"val": "validate", "test": "test", "train": "fit"}
    if split not in stages:
        raise ValueError(f"split must be {', '.join(stages)} for a data module, got {split!r}.")
    module.prepare_data()
    module.setup(stages[split])
    loaders: Any = {"val": module.val_dataloader, "test": module.test_dataloader, "train": module.train_dataloader}
    return loaders[split]()


def called(value: Any, title: str | None = None) -> str | None:
    """Return what the settings call a network or a data set."""
    if value is None or isinstance(value, str | Path):
        return None if value is None else str(value)
    return title or _kind(value)


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def as_compared(compare: Any) -> tuple[Any, dict[str, InMemory]]:
    """Return ``compare`` as the settings have it, and the modules among it by the folders that they will stand in.

    Args:
        compare: what the command line takes, a module, modules by title, results, settings of a network whose
            ``network`` is a module, or a list of these.

    Raises:
        TypeError: if an entry is none of these.
    """
    if compare is None or isinstance(compare, str):
        return compare, {}
    entries: list[Any] = []
    for entry in compare if isinstance(compare, list | tuple) else [compare]:
        entries += _titled(entry)
    settings: list[Any] = []
    beside: dict[str, InMemory] = {}
    titles: set[str] = set()
    for place, (title, entry) in enumerate(entries):
        choice, module = _entry(entry)
        if module is not None:
            name = untaken(title or _kind(module), titles)
            titles.add(name)
            choice = replace(choice, network=name)
            beside[folder_of(place)] = InMemory(module, title=title)
        settings.append(choice)
    return tuple(settings), beside


def _titled(entry: Any) -> Sequence[tuple[str | None, Any]]:
    settings = {field.name for field in fields(NetworkChoice)}
    if isinstance(entry, Mapping) and not isinstance(entry, Results) and not settings & set(entry):
        for title, network in entry.items():
            if not isinstance(network, nn.Module):
                raise TypeError(
                    f"compare: {title!r} must be a module, got {_kind(network)}; other networks have names of their "
                    "own, and stand in a list."
                )
        return list(entry.items())
    if isinstance(entry, Results) and entry:
        return [(None, results) for results in entry.networks.values()]
    return [(None, entry)]


def _entry(entry: Any) -> tuple[Any, nn.Module | None]:
    """Return an entry as the settings have it, and its module where it has one."""
    if isinstance(entry, nn.Module):
        return NetworkChoice(), entry
    if isinstance(entry, Results):
        if entry.folder is None:
            raise ValueError(
                "compare: these results have no folder; give those that evaluate() or load_results() gave."
            )
        return str(entry.folder), None
    if isinstance(entry, Mapping) and isinstance(entry.get("network"), nn.Module):
        unknown = sorted(set(entry) - {field.name for field in fields(NetworkChoice)})
        if unknown:
            raise ValueError(f"compare: a network has no {', '.join(unknown)}.")
        return NetworkChoice(**{**entry, "network": None}), entry["network"]
    if isinstance(entry, str | Path | Mapping | NetworkChoice):
        return str(entry) if isinstance(entry, Path) else entry, None
    raise TypeError(f"compare must be modules, networks, checkpoints, folders or results, got {_kind(entry)}.")
