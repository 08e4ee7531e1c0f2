"""LC, CS1 and CS2 apart for the images on which an attack succeeds and for those on which it fails."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_advinterp.analyses.analysis import Row
from lightning_advinterp.analyses.semantics_result import Setting, levels, means
from lightning_advinterp.analyses.semantics_units import TARGET, TRUE, KindSeen, measure_units
from lightning_advinterp.metrics.semantics import chance_level
from lightning_advinterp.metrics.top_images import TopImages, kept_count

CHANGES = ("failure", "success")
"""What became of an attack, in the order of its truth value."""

_COLUMNS = ("lc", "cs1", "cs2", "cs_halves", "cs1_cross", "cs2_cross")


class SuccessSplit:
    """The top images of one attack, twice: among the images on which it fails, and on which it succeeds.

    Real and adversarial top images are taken among the *same* images, so that what is compared are two versions of
    them, and not easy images with hard ones.

    Args:
        size: number of classes, K.
        share: of a part's images that count as top images.
        keep: images per unit, the share of all images or more; None keeps all.
    """

    def __init__(self, size: int, share: float, keep: int | None) -> None:
        self.share = share
        self._top = {
            change: {kind: [TopImages(keep) for _ in (0, 1)] for kind in ("real", "attacked")} for change in CHANGES
        }
        self._counts = {change: torch.zeros(2, size, dtype=torch.int64) for change in CHANGES}

    def update(
        self, success: Tensor, half: Tensor, index: Tensor, real: tuple[Tensor, Tensor], attacked: tuple[Tensor, Tensor]
    ) -> None:
        """Take in one batch.

        Args:
            success: bool ``[B]``.
            half: 0 or 1 for every image, ``[B]``.
            index: int64 ``[B]``, the images' numbers.
            real: activations ``[B, U]`` and notes ``[B, P]`` of the real images.
            attacked: likewise of the adversarial images.
        """
        for change, reached in zip(CHANGES, (False, True), strict=True):
            for number in (0, 1):
                own = ((success == reached) & (half == number)).nonzero().squeeze(1)
                if len(own):
                    for kind, (values, notes) in (("real", real), ("attacked", attacked)):
                        self._top[change][kind][number].update(values[own], index[own], notes[own])
                    self._count(change, attacked[1][own])

    def _count(self, change: str, notes: Tensor) -> None:
        counts = self._counts[change]
        for row, note in enumerate((TRUE, TARGET)):
            classes = notes[:, note]
            counts[row] += torch.bincount(classes[classes >= 0], minlength=counts.shape[1]).cpu()

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's :meth:`state_dict`."""
        for change in CHANGES:
            for own, other in zip(self._lists(change), state[change]["top"], strict=True):
                own.merge(other)
            self._counts[change] = self._counts[change] + state[change]["counts"]

    def state_dict(self) -> dict[str, Any]:
        """Return what was kept."""
        return {
            change: {"top": [one.state_dict() for one in self._lists(change)], "counts": self._counts[change].clone()}
            for change in CHANGES
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace what was kept."""
        for change in CHANGES:
            for own, other in zip(self._lists(change), state[change]["top"], strict=True):
                own.load_state_dict(other)
            self._counts[change] = state[change]["counts"].clone()

    def _lists(self, change: str) -> list[TopImages]:
        return [*self._top[change]["real"], *self._top[change]["attacked"]]

    def rows(self, setting: Setting, kind: str, eps: float | None) -> list[Row]:
        """Return a row per part and layer, and one for all units together; none for a part without images.

        Args:
            setting: of the whole analysis.
            kind: the attack's name.
            eps: its radius.
        """
        rows: list[Row] = []
        for change in CHANGES:
            images = sum(half.seen for half in self._top[change]["real"])
            if images:
                true, targets = self._counts[change]
                own = replace(setting, true=true, images=images)
                real, attacked = (self._seen(half, targets, eps) for half in self._top[change].values())
                rows += _rows(own, {"images": kind, "change": change}, real, attacked)
        return rows

    @staticmethod
    def scalars(rows: Sequence[Row], prefix: str) -> dict[str, float]:
        """Return the means over all units, under ``{prefix}/all/{success,failure}/{lc,cs1,cs2}``."""
        return {
            f"{prefix}/all/{row['change']}/{name}": row[name]
            for row in rows
            if row["layer"] == "all"
            for name in _COLUMNS[:3]
        }

    def _seen(self, halves: Iterable[TopImages], targets: Tensor, eps: float | None) -> KindSeen:
        halves = list(halves)
        whole = TopImages(halves[0].keep)
        for half in halves:
            whole.merge(half.state_dict())
        first, *rest = (one.ranking(kept_count(self.share, one.seen)) if one.seen else None for one in (whole, *halves))
        assert first is not None
        return KindSeen(first, rest, targets, eps=eps)


def _rows(setting: Setting, first: Row, real: KindSeen, attacked: KindSeen) -> list[Row]:
    chance = chance_level(setting.true, attacked.targets, setting.kept, setting.classes.similarity, seed=setting.seed)
    columns, _ = measure_units(setting.classes, setting.layers, real, attacked)
    ceiling, _ = measure_units(setting.classes, setting.layers, real, None)
    columns["cs_halves"] = ceiling["cs_halves"]
    number, last = setting.layers.number(), {"eps": attacked.eps} | levels(setting, attacked, chance)
    del last["target_mass"]  # of the attack, not of its success
    groups = {layer.name: number == place for place, layer in enumerate(setting.layers.units)}
    groups["all"] = np.ones(len(number), dtype=bool)
    return [
        {"layer": layer, **first, "units": int(mine.sum())} | means(columns, mine, _COLUMNS, setting.seed) | last
        for layer, mine in groups.items()
    ]
