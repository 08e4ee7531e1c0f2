"""The semantic measures of every unit, as columns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_advinterp.metrics.semantics import (
    ClassSpace,
    Meaning,
    class_shares,
    consistency_of_semantics,
    entropy,
    level_of_consistency,
    meaning_of,
)
from lightning_advinterp.units.top_images import Ranking

TRUE, TARGET, PREDICTED = 0, 1, 2
"""The places of an image's classes among its notes."""

HALF_COLUMNS = ("lc_half", "cs1_half", "cs2_half", "cs1_cross", "cs2_cross")


@dataclass(frozen=True)
class LayerUnits:
    """A layer and its units.

    Attributes:
        name: path of the convolution or module.
        tap: what was read.
        width: number of units.
        signed: whether activations below zero are possible; else only positive ones count as fired.
    """

    name: str
    tap: str
    width: int
    signed: bool


@dataclass(frozen=True)
class Layers:
    """All layers, in order; units are numbered through them.

    Attributes:
        units: the layers.
    """

    units: tuple[LayerUnits, ...]

    def number(self) -> NDArray[np.int64]:
        """Return each unit's layer, by its place."""
        return np.repeat(np.arange(len(self.units)), [layer.width for layer in self.units])

    def counted(self, top: Ranking) -> Tensor:
        """Return which top images drive their unit, bool ``[U, k]``: all where activations are signed.

        A unit with one value for all images is driven by none: its top images would be the first ones, before and after
        any attack, and it would count as perfectly consistent.
        """
        signed = torch.cat([torch.full((layer.width,), layer.signed) for layer in self.units])
        fired = torch.where(signed[:, None], top.values > -torch.inf, top.values > 0)
        return fired & ~top.constant[:, None]


@dataclass(frozen=True)
class KindSeen:
    """What was seen of one kind of images.

    Attributes:
        top: every unit's top images.
        halves: likewise, of each half of the images; None where a half is empty.
        targets: int64 ``[K]``, images aimed at each class; None for real images.
        mass: share of the images that are aimed at these classes, or, of an attack without a target, that the network
            takes for one of them among all its outputs; None for real images.
        eps: of the attack.
    """

    top: Ranking
    halves: Sequence[Ranking | None]
    targets: Tensor | None = None
    mass: float | None = None
    eps: float | None = None


def measure_units(
    classes: ClassSpace, layers: Layers, real: KindSeen, attacked: KindSeen | None
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.int64]]:
    """Return the columns of real images' rows, or of an attack's.

    ``lc`` is always the unit's level of consistency, over real images. ``lc_true``, ``lc_target``, ``lc_predicted``
    and ``entropy`` are of the kind's own top images, by their true, target and predicted classes. ``cs2_predicted`` is
    CS2 with predicted instead of target classes: of an attack that misses its targets it is another number.

    Args:
        classes: the class space.
        layers: the units.
        real: of the real images.
        attacked: of an attack's images; None for the real images' own columns.

    Returns:
        Column to float64 ``[U]``, NaN where a unit is dead; and int64 ``[U]``, the units' modal classes, −1 for dead
        ones.
    """
    c = classes.similarity.double().cpu()

    def shares(top: Ranking, note: int) -> Tensor:
        return class_shares(top.notes[..., note], layers.counted(top), classes.size)

    p = shares(real.top, TRUE)
    meaning, by_identity = meaning_of(p, c), Meaning.of(p, p)
    shown = real if attacked is None else attacked
    dead = p[:, 0].isnan()
    modal = p.nan_to_num().argmax(dim=1).masked_fill(dead, -1)
    shown_true, predicted = shares(shown.top, TRUE), shares(shown.top, PREDICTED)
    measures = {"lc": meaning.level}
    level_true = meaning.level if attacked is None else level_of_consistency(shown_true, c)
    level_predicted = level_of_consistency(predicted, c)
    if attacked is not None:
        q_target = shares(attacked.top, TARGET)
        level_target = level_of_consistency(q_target, c)
        measures["cs1"] = meaning.consistency(shown_true, level_true)
        measures["cs2"] = meaning.consistency(q_target, level_target)
        measures["cs1_identity"], measures["cs2_identity"] = (
            by_identity.consistency(distribution, Meaning.of(distribution, distribution).level)
            for distribution in (shown_true, q_target)
        )
        measures["cs2_predicted"] = meaning.consistency(predicted, level_predicted)
        measures["lc_target"] = level_target
    measures["lc_identity"] = by_identity.level
    measures |= {"lc_true": level_true, "lc_predicted": level_predicted, "entropy": entropy(shown_true)}
    measures |= _halves(real, attacked, shares, c)
    return {name: values.numpy() for name, values in measures.items()}, modal.numpy()


def _halves(
    real: KindSeen, attacked: KindSeen | None, shares: Callable[[Ranking, int], Tensor], c: Tensor
) -> dict[str, Tensor]:
    """Measures of halves of the images.

    Of real images the ceiling, CS between the two halves. Of an attack's, ``lc_half`` from the first half with
    ``cs1_half`` and ``cs2_half`` from the second, which do not share its noise; and ``cs1_cross`` and ``cs2_cross``
    between the real images of the first and the adversarial images of the second: like the ceiling, and unlike CS1,
    they compare different images.
    """
    first, second = real.halves
    dead = torch.full((len(real.top.values),), torch.nan, dtype=torch.float64)
    if first is None or second is None:
        return dict.fromkeys(("cs_halves",) if attacked is None else HALF_COLUMNS, dead)
    p_first, p_second = shares(first, TRUE), shares(second, TRUE)
    if attacked is None:
        return {"cs_halves": consistency_of_semantics(p_first, p_second, c)}
    second_attacked = attacked.halves[1]
    assert second_attacked is not None  # the same images as the real ones
    q, q_target = shares(second_attacked, TRUE), shares(second_attacked, TARGET)
    levels = [(distribution, level_of_consistency(distribution, c)) for distribution in (q, q_target)]
    first_meaning = meaning_of(p_first, c)
    measures = [first_meaning.level]
    for meaning in (meaning_of(p_second, c), first_meaning):
        measures += [meaning.consistency(distribution, level) for distribution, level in levels]
    return dict(zip(HALF_COLUMNS, measures, strict=True))
