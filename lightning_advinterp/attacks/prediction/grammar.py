"""The ways in which a user may say which attacks: a name, several names, one attack's settings, or a list of these."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from lightning_advinterp.attacks.prediction.config import AttackConfig

OneAttack = AttackConfig | tuple[AttackConfig | str, ...] | str
"""How a configuration says one attack."""
Attacks = AttackConfig | tuple[AttackConfig | str, ...] | str | None
"""How a configuration says any number of attacks."""


def attack_list(attacks: object, argument: str = "attack") -> tuple[AttackConfig, ...]:
    """Return the attacks that a user asks for.

    Args:
        attacks: a type's name, names separated by commas, the settings of one attack, a list of names and settings, the
            same as text, or None for none.
        argument: what messages call it.

    Raises:
        ValueError: for anything else, naming it.

    Example:
        >>> [attack.type for attack in attack_list("fgsm, pgd")]
        ['fgsm', 'pgd']
    """
    if attacks is None:
        return ()
    if isinstance(attacks, AttackConfig):
        return (attacks,)
    if isinstance(attacks, Mapping):
        return (_from_mapping(attacks, argument),)
    if isinstance(attacks, str):
        if attacks.lstrip().startswith(("[", "{")):
            return attack_list(_read(attacks, argument), argument)
        return tuple(AttackConfig(name.strip()) for name in attacks.split(",") if name.strip())
    if isinstance(attacks, Sequence):
        configs: tuple[AttackConfig, ...] = ()
        for attack in attacks:
            configs += attack_list(attack, argument)
        return configs
    raise ValueError(
        f"{argument} must be an attack's name, its settings such as {{type: pgd, eps: 4/255}}, or a list of these, "
        f"got {attacks!r}."
    )


def one_attack(attack: object, argument: str = "attack") -> AttackConfig:
    """Return the one attack that a user asks for, as :func:`attack_list` reads it.

    Raises:
        ValueError: if there are none or several.
    """
    configs = attack_list(attack, argument)
    if len(configs) != 1:
        names = ", ".join(config.label_name for config in configs) or "none"
        raise ValueError(f"{argument} must be one attack, got {names}; name one, or give its settings.")
    return configs[0]


def _read(text: str, argument: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(f"{argument} is no list and no settings that can be read, got {text!r}.") from None


def _from_mapping(settings: Mapping[Any, Any], argument: str) -> AttackConfig:
    try:
        return AttackConfig(**{str(key): value for key, value in settings.items()})
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from None
