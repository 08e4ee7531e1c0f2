"""What a file may say of its network: a closed list of keys, of the right kind, before anything is built from them."""

import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn
from torchvision import models

from lightning_advinterp.core.trust import require_trusted_class
from lightning_advinterp.networks.factory import create_network
from lightning_advinterp.networks.hub import HUB
from lightning_advinterp.networks.network import is_plain
from lightning_advinterp.networks.sources import is_class_path, torchvision_names

_LOADING = ("pretrained", "checkpoint", "weights", "cache", "url", "file", "hf_hub", "features_only", "progress")
"""How keys begin by which torchvision and timm read files, download, or build something else than a classifier."""

_SHARED = ("bn_eps", "bn_momentum", "norm_kwargs", "act_kwargs")
"""What timm's builders take from their keywords without naming it."""

_MOST_OUTPUTS, _LARGEST_SIDE = 1_000_000, 16_384


def _is_count(most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number) for number in value
    )


_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda value: isinstance(value, str), "text"),
    "num_classes": (_is_count(_MOST_OUTPUTS), f"a whole number from 1 to {_MOST_OUTPUTS}"),
    "mean": (_are_numbers, "a list of finite numbers"),
    "std": (_are_numbers, "a list of finite numbers"),
    "input_size": (_is_count(_LARGEST_SIDE), f"a whole number from 1 to {_LARGEST_SIDE}"),
    "stem": (lambda value: value in (None, "small", "medium"), "small, medium or null"),
    "phi": (lambda value: value is None or isinstance(value, str), "text or null"),
    "softplus": (lambda value: value is None or (_are_numbers([value]) and value > 0), "a number above 0 or null"),
}


_USERS = {name for name in inspect.signature(create_network).parameters if name != "options"} - _KINDS.keys()
"""What a user says of a network and no checkpoint does: other files to read, and how."""


def checked_spec(spec: Any, source: str, *, builds: bool = True) -> dict[str, Any]:
    """Return the arguments for ``create_network`` that a file names, after looking at each.

    Args:
        spec: the file's entry; see :meth:`~lightning_advinterp.networks.network.Network.spec`.
        source: the file, for messages.
        builds: whether the network is built by its name; else no class that the file names is imported.

    Raises:
        ValueError: naming the key, and what was expected.
    """
    if not isinstance(spec, Mapping) or not all(isinstance(key, str) for key in spec) or "name" not in spec:
        raise ValueError(f"{source}: its entry network must be settings by name, with a name, got {_shown(spec)}.")
    for key, (fits, expected) in _KINDS.items():
        if key in spec and not fits(spec[key]):
            raise ValueError(f"{source}: its network's {key} must be {expected}, got {_shown(spec[key])}.")
    name: str = spec["name"]
    options = {key: value for key, value in spec.items() if key not in _KINDS}
    for key, value in options.items():
        if key in _USERS:
            raise ValueError(f"{source}: its network has the key {key!r}, which is the user's to say, not a file's.")
        if not is_plain(value):
            raise ValueError(f"{source}: its network's {key} must be plain numbers or text, got {_shown(value)}.")
    if name.startswith(HUB):
        raise ValueError(f"{source}: its network is {_shown(name)}, which would be downloaded; no checkpoint says so.")
    if name.startswith("timm/") or name in torchvision_names():
        _check_options(name, options, source)
    elif builds and is_class_path(name):
        require_trusted_class(name, source)
    return dict(spec)


def _check_options(name: str, options: Mapping[str, Any], source: str) -> None:
    """Refuse what the architecture's constructor does not name, and what would make it read files."""
    if not options:
        return
    known = {*_constructor_arguments(name), *_SHARED}
    for key in options:
        if key.startswith(_LOADING) or key not in known:
            raise ValueError(
                f"{source}: its network has the key {key!r}, which is no setting of the architecture {name}; a "
                "checkpoint of this project has none like it."
            )


def _constructor_arguments(name: str) -> Iterator[str]:
    """Yield what the builders and network classes beside an architecture's builder take."""
    if name.startswith("timm/"):
        import timm  # takes a second, and only timm's networks need it

        builder = timm.model_entrypoint(name.removeprefix("timm/").partition(".")[0])
    else:
        builder = models.get_model_builder(name)  # type: ignore[attr-defined]
    module = sys.modules[inspect.unwrap(builder).__module__]
    for value in vars(module).values():
        if inspect.isfunction(value) or (isinstance(value, type) and issubclass(value, nn.Module)):
            yield from inspect.signature(value).parameters


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, int | float | str | None) else type(value).__name__
    return text if len(text) <= 80 else f"{text[:80]}…"
