"""Defaults of the command line, in the form in which the parser keeps what a file says."""

from dataclasses import fields, is_dataclass
from typing import Any

from jsonargparse import Namespace


def plain_defaults(config: Any) -> Any:
    """Replace dataclass instances inside tuples and lists, which the parser cannot write down, by their fields.

    A default such as ``attacks=(AttackConfig(...),)`` stays an instance in a parsed configuration. Saved as it is, the
    run's ``config.yaml`` could not be read again.

    Args:
        config: a parsed configuration or a part of it; namespaces are changed in place.

    Example:
        >>> from lightning_advinterp.attacks.config import AttackConfig
        >>> plain_defaults((AttackConfig("fgsm", "4/255"),))[0].eps
        '4/255'
    """
    if isinstance(config, Namespace):
        for key, value in vars(config).items():
            setattr(config, key, plain_defaults(value))
        return config
    if isinstance(config, tuple | list):
        return type(config)(
            Namespace({field.name: getattr(item, field.name) for field in fields(item)})  # type: ignore[no-untyped-call]
            if is_dataclass(item) and not isinstance(item, type)
            else plain_defaults(item)
            for item in config
        )
    return config
