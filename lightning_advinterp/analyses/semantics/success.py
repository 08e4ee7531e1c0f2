"""LC, CS1 and CS2 apart for the images on which an attack succeeds and for those on which it fails."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.analyses.semantics.result import Setting, levels, means
from lightning_advinterp.analyses.semantics.units import PREDICTED, TARGET, TRUE, KindSeen, measure_units
from lightning_advinterp.core.result import Row
from lightning_advinterp.metrics.semantics import chance_level
from lightning_advinterp.units.top_images import TopImages, kept_count

CHANGES = ("failure", "success")
"""What became of an attack, in the order of its truth value."""

LEAST = 10
"""So many top images at least, where there are as many: with fewer a unit's distribution says nothing."""

_COLUMNS = ("lc", "cs1", "cs2", "cs_halves", "cs1_cross", "cs2_cross")
_SCALARS = ("lc", "cs1", "cs2", "chance_lc", "chance_cs1", "chance_cs2")


class SuccessSplit(Summed):
    """The top images of one attack, twice: among the images on which it fails, and on which it succeeds.

    Only images count that the network gets right, among the classes of the set, before the attack. Real and adversarial
    top images are taken among the *same* images, so that what is compared are two versions of them, and not easy images
    with hard ones; and as many in both parts, since LC and CS depend on how many they are.

    Where an attack without a target fails, the class "moved to" is the true one and CS2 would be CS1: it has no value.

    Args:
        size: number of classes, K.
        share: of the smaller part's images that count as top images, but :data:`LEAST` at least.
        keep: images per unit, that share of all images and :data:`LEAST` or more; None keeps all.
        aims: whether the attack moves images towards classes: it succeeds where the network sees the target, else where
            it no longer sees the true class, among the classes of the set.
    """

    summed = ("_top", "_counts")

    def __init__(self, size: int, share: float, keep: int | None, aims: bool) -> None:
        self.share, self.aims = share, aims
        self._top = {
            change: {kind: [TopImages(keep) for _ in (0, 1)] for kind in ("real", "attacked")} for change in CHANGES
        }
        self._counts = {change: torch.zeros(2, size, dtype=torch.int64) for change in CHANGES}

    def update(self, half: Tensor, index: Tensor, real: tuple[Tensor, Tensor], attacked: tuple[Tensor, Tensor]) -> None:
        """Take in one batch.

        Args:
            half: 0 or 1 for every image, ``[B]``.
            index: int64 ``[B]``, the images' numbers.
            real: activations ``[B, U]`` and notes ``[B, 3]`` (true, target and predicted class) of the real images.
            attacked: likewise of the adversarial images.
        """
        before, after = real[1], attacked[1]
        right = before[:, PREDICTED] == before[:, TRUE]
        hit = after[:, PREDICTED] == after[:, TARGET if self.aims else TRUE]
        success = hit if self.aims else ~hit
        for change, reached in zip(CHANGES, (False, True), strict=True):
            for number in (0, 1):
                members = (right & (success == reached) & (half == number)).nonzero().squeeze(1)
                if len(members):
                    for kind, (values, notes) in (("real", real), ("attacked", attacked)):
                        self._top[change][kind][number].update(values[members], index[members], notes[members])
                    self._count(change, after[members])

    def _count(self, change: str, notes: Tensor) -> None:
        counts = self._counts[change]
        for row, note in enumerate((TRUE, TARGET)):
            classes = notes[:, note]
            counts[row] += torch.bincount(classes[classes >= 0], minlength=counts.shape[1]).cpu()

    def rows(self, setting: Setting, kind: str, eps: float | None) -> list[Row]:
        """Return a row per part and layer, and one for all units together; none for a part without images.

        Args:
            setting: of the whole analysis.
            kind: the attack's name.
            eps: its radius.
        """
        images = {change: sum(half.seen for half in self._top[change]["real"]) for change in CHANGES}
        least = min((count for count in images.values() if count), default=0)
        rows: list[Row] = []
        for change, count in images.items():
            if count:
                kept_images = min(least, max(LEAST, kept_count(self.share, least)))
                part_setting = replace(setting, true=self._counts[change][0], images=count, share=kept_images / count)
                real, attacked = (
                    _seen(half, kept_images, self._counts[change][1], eps) for half in self._top[change].values()
                )
                part_rows = _rows(part_setting, {"images": kind, "change": change}, real, attacked)
                if change == "failure" and not self.aims:
                    part_rows = [row | dict.fromkeys(name for name in row if "cs2" in name) for row in part_rows]
                rows += part_rows
        return rows

    @staticmethod
    def scalars(rows: Sequence[Row], prefix: str) -> dict[str, float]:
        """Return the means over all units and their chance levels, ``{prefix}/all/{success,failure}/{lc,cs1,…}``.

        A part that is too small to read has none.
        """
        return {
            f"{prefix}/all/{row['change']}/{name}": row[name]
            for row in rows
            if row["layer"] == "all" and row["readable"]
            for name in _SCALARS
            if row[name] is not None
        }


def _seen(halves: Sequence[TopImages], count: int, targets: Tensor, eps: float | None) -> KindSeen:
    merged = TopImages(halves[0].keep)
    for half in halves:
        merged.merge(half.state_dict())
    half_kept = -(-count // 2)
    parts = [half.ranking(half_kept) if half.seen else None for half in halves]
    return KindSeen(merged.ranking(count), parts, targets, eps=eps)


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
        {"layer": layer, **first, "units": int(members.sum())} | means(columns, members, _COLUMNS, setting.seed) | last
        for layer, members in groups.items()
    ]
