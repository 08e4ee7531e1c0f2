"""A backbone filled from a file or from named weights, with what the file says beside it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lightning_advinterp.networks.beside import Beside, read_beside, stated_size
from lightning_advinterp.networks.heads import count_classes, head_keys, head_of, replace_head
from lightning_advinterp.networks.origin import Origin
from lightning_advinterp.networks.request import Source
from lightning_advinterp.networks.weight_sets import WeightSet, choose_set, find_sets
from lightning_advinterp.networks.weights import load_into, rename

__all__ = ["Loaded", "Wish", "load_content", "load_named", "stated_size"]

logger = logging.getLogger(__name__)

_AUXILIARY = ("AuxLogits.", "aux1.", "aux2.", "sub_block1.")
"""Keys of auxiliary heads, and of a part that TRADES' wide ResNets have and never use: networks here do without."""


@dataclass(frozen=True)
class Wish:
    """What the user says of the weights.

    Attributes:
        num_classes: number of logits.
        weights_set: which of a file's sets.
        normalized: whether mean and std are said, so that a file need not say them.
        tempered: whether the temperature is.
        new_head: whether the last layer starts afresh, although the weights have one of the right size.
    """

    num_classes: int | None = None
    weights_set: str | None = None
    normalized: bool = False
    tempered: bool = False
    new_head: bool = False


@dataclass(frozen=True)
class Loaded:
    """What came of it.

    Attributes:
        fresh: whether the last layer has random values.
        beside: what the file says beside the network's tensors.
        weights_set: the name of the set that was taken.
        other_sets: the names of the others.
    """

    fresh: bool = False
    beside: Beside = field(default_factory=Beside)
    weights_set: str = ""
    other_sets: tuple[str, ...] = ()

    def origin(self, weights: str, normalization: str, fresh: bool, temperature: float | None) -> Origin:
        """Return where a network comes from; a fresh last layer has no classes yet, and no temperature."""
        beside = self.beside
        return Origin(
            weights,
            self.weights_set,
            self.other_sets,
            beside.left_out,
            normalization,
            1.0 if fresh or temperature is None else temperature,
            () if fresh else beside.classes,
            () if fresh else beside.class_names,
            beside.resize,
        )


def load_content(backbone: nn.Module, path: Path, content: Mapping[Any, Any], wish: Wish) -> Loaded:
    """Fill a backbone from what a file holds.

    Raises:
        ValueError: if it does not fit, or says something that cannot be used and that the user does not settle.
    """
    expected = backbone.state_dict().keys()
    sets = find_sets(content, expected)
    chosen = choose_set(sets, str(path), wish.weights_set)
    near = _near(chosen, sets, set(expected))
    near_others = _near_others(chosen, sets, set(expected))
    beside = read_beside(path, content, near, near_others, [candidate.container for candidate in sets])
    _require_settled(beside, path, wish)
    used = {name.removeprefix(chosen.prefix) for name in beside.used}
    of_others = {
        key
        for candidate in sets
        if candidate is not chosen and candidate.container == chosen.container
        for key in candidate.keys
    }
    tensors = {
        key: value
        for key, value in chosen.tensors.items()
        if key in expected or (key not in used and chosen.prefix + key not in of_others)
    }
    fresh = fill(backbone, tensors, str(path), wish)
    other_names = tuple(candidate.name for candidate in sets if candidate is not chosen)
    return Loaded(fresh, beside, chosen.name, other_names)


def load_named(source: Source, backbone: nn.Module, name: str, wish: Wish) -> Loaded:
    """Fill a backbone from named weights."""
    downloaded = source.download(name)
    if downloaded is not None:
        return Loaded(fill(backbone, rename(downloaded, name, backbone.state_dict().keys()), name, wish))
    # timm has loaded them already; where they have another number of classes, it has made the last layer anew.
    config = getattr(backbone, "pretrained_cfg", {})
    classes, outputs = config.get("num_classes"), count_classes(backbone)
    if classes is not None and outputs is not None and classes != outputs:
        _warn_of_fresh_head(source.name, classes, outputs)
        return Loaded(fresh=True)
    if wish.new_head and outputs is not None:
        replace_head(backbone, outputs)
    return Loaded(fresh=wish.new_head)


def fill(backbone: nn.Module, tensors: Mapping[str, Tensor], origin: str, wish: Wish) -> bool:
    """Copy tensors into a backbone, whose last layer takes their number of classes unless another one is wished for.

    Returns:
        Whether the last layer starts afresh.

    Raises:
        ValueError: if they do not fit.
    """
    keys = backbone.state_dict().keys()
    if not any(key.startswith(_AUXILIARY) for key in keys):
        tensors = {key: value for key, value in tensors.items() if not key.startswith(_AUXILIARY)}
    head, classes = head_of(backbone, tensors)
    fresh: set[str] = set()
    if classes is not None and classes != count_classes(backbone, head):
        if wish.num_classes in (None, classes):
            replace_head(backbone, classes, head)
        else:
            fresh = head_keys(backbone, head)
            _warn_of_fresh_head(origin, classes, wish.num_classes)
    if wish.new_head:
        fresh = head_keys(backbone, head)
    load_into(backbone, tensors, origin, fresh=fresh)
    return bool(fresh)


def _warn_of_fresh_head(origin: str, classes: int, num_classes: int | None) -> None:
    logger.warning("%s: %d classes, num_classes is %d; the last layer starts afresh.", origin, classes, num_classes)


def _near(chosen: WeightSet, sets: list[WeightSet], expected: set[str]) -> dict[str, Tensor]:
    """Return the tensors of the chosen set's dictionary that belong to no set."""
    of_sets = {key for candidate in sets if candidate.container == chosen.container for key in candidate.keys}
    inside = {chosen.prefix + key: value for key, value in chosen.tensors.items() if key not in expected}
    return {key: value for key, value in {**chosen.beside, **inside}.items() if key not in of_sets}


def _near_others(chosen: WeightSet, sets: list[WeightSet], expected: set[str]) -> dict[str, Tensor]:
    """Return the same of the other sets' dictionaries, by names that say which."""
    return {
        f"{candidate.container}.{key}".replace("/", ".").removeprefix("."): value
        for candidate in sets
        if candidate.container != chosen.container
        for key, value in _near(candidate, sets, expected).items()
    }


def _require_settled(beside: Beside, path: Path, wish: Wish) -> None:
    """Refuse what may change the network's answers and cannot be read, unless the user says what holds."""
    if beside.unread and not wish.normalized:
        raise ValueError(
            f"weights: {path} has {', '.join(beside.unread)} beside the network, which may be its normalisation and "
            "cannot be read as mean and std; give mean and std of pixels in [0, 1] (0 and 1 for none)."
        )
    if beside.scales and not wish.tempered:
        raise ValueError(
            f"weights: {path} has {', '.join(beside.scales)} beside the network, which may scale its logits; give the "
            "temperature by which they are divided (1 for none)."
        )
