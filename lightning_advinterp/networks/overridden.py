"""A stem that a configuration sets for its network, where a later configuration or flag names another network."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lightning_advinterp.core.reading import read_text
from lightning_advinterp.core.yaml_files import check_extent
from lightning_advinterp.networks.stems import takes_stem

_log = logging.getLogger(__name__)


def without_foreign_stem(args: Sequence[str], section: str = "") -> list[str]:
    """Return a command line without the stem that a configuration sets for another network than is named in the end.

    Configurations are laid one over the other, key by key: whoever names another network on the command line would
    else be refused for a stem that was never meant for it. A stem that a flag sets, or that stands beside the network
    in one configuration, is the user's own word and stays; so does one that suits the network.

    Args:
        args: the command line.
        section: where network and stem stand, such as ``model.``; empty for the top.
    """
    network: str | None = None
    stem: str | None = None
    meant_for: str | None = None
    for layer in _layers(args, section):
        network = layer.get("network", network)
        if "stem" in layer:
            stem, meant_for = layer["stem"], network
    flagged = f"--{section}stem"
    present = any(arg == flagged or arg.startswith(f"{flagged}=") for arg in args)
    if stem is None or present or network is None or network == meant_for or takes_stem(network):
        return list(args)
    _log.warning(
        "%sstem: %s was set for %s and does not suit %s; left out.", section, stem, meant_for or "the default", network
    )
    return [*args, flagged, "null"]


def _layers(args: Sequence[str], section: str) -> Iterator[Mapping[str, Any]]:
    """Yield what each configuration says of the network, then what the flags say together."""
    flags: dict[str, Any] = {}
    for place, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        value = value if equals else args[place + 1] if place + 1 < len(args) else ""
        if name == "--config":
            yield _settings_in(value, section)
        elif name == f"--{section}network":
            flags["network"] = value
    yield flags


def _settings_in(path: str, section: str) -> Mapping[str, Any]:
    """Return a configuration's settings of the network; nothing where it cannot be read, which the parser will say."""
    try:
        text = read_text(Path(path))
        check_extent(text)
        content = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    for key in section.split(".")[:-1]:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content if isinstance(content, Mapping) else {}
