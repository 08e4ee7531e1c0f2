"""Accuracy on real and adversarial images: Table 2 of Dong et al. 2022."""

from collections.abc import Mapping

import torch

from lightning_advinterp.analyses.accuracy.perturbation import MEASURES, add_changes, change_rows, compared_attacks
from lightning_advinterp.analyses.base.protocol import Observation, Plan, Sweep
from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.result import REAL, Result, Row
from lightning_advinterp.metrics.accuracy import top_k_hits
from lightning_advinterp.metrics.intervals import wilson_interval
from lightning_advinterp.networks.network import Network

_COUNTS = ("n", "top1", "top5", "success", "label_kept")
_MEANS = ("linf", "l2")


class AccuracyAnalysis(Summed):
    """Top-1 and top-5 accuracy per image kind, with 95 % Wilson intervals.

    Args:
        attacks: name to attack; every name is an image kind beside ``real``.

    The table ``accuracy`` has one row per kind: ``images, n, top1, top1_low, top1_high, top5, top5_low,
    top5_high`` as shares in [0, 1], then for attacks ``eps`` (the largest), ``steps``, ``success`` (share of images
    predicted as the attack wanted: not the label it moved away from, or the target), ``label_kept`` (share whose
    prediction is that of the real image), and the mean distances ``linf`` and ``l2``. A runner adds how the attack was
    set, and how many images had no gradient or were not attacked; the latter count in no share.

    With two attacks or more the table ``perturbation`` has the sizes of their changes where all of them succeed.
    """

    name = "accuracy"
    summed = ("counts", "sums", "changes", "common")

    def __init__(self, attacks: Mapping[str, Attack] | None = None) -> None:
        self.attacks = dict(attacks or {})
        self.counts = {kind: dict.fromkeys(_COUNTS, 0) for kind in (REAL, *self.attacks)}
        self.sums = {kind: dict.fromkeys(_MEANS, 0.0) for kind in self.attacks}
        self.changes = {kind: dict.fromkeys(MEASURES, 0.0) for kind in compared_attacks(self.attacks)}
        self.common = 0

    def bind(self, network: Network) -> Plan:
        """One sweep over real images and every attack's."""
        return Plan((Sweep(kinds=(REAL, *self.attacks)),))

    def update(self, sweep: int, observation: Observation) -> None:
        """Count the hits of one batch."""
        self.common += add_changes(self.changes, observation)
        real = observation.logits[REAL].argmax(dim=1)
        for kind, counts in self.counts.items():
            logits = observation.logits[kind]
            attacked = observation.attacked.get(kind, torch.ones_like(observation.label, dtype=torch.bool))
            counts["n"] += int(attacked.sum())
            for k in (1, 5):
                counts[f"top{k}"] += int((top_k_hits(logits, observation.label, k) & attacked).sum())
            if kind == REAL:
                continue
            counts["success"] += int(observation.success[kind].sum())
            counts["label_kept"] += int(((logits.argmax(dim=1) == real) & attacked).sum())
            delta = (observation.images[kind] - observation.images[REAL]).flatten(1).double()  # 0 where not attacked
            self.sums[kind]["linf"] += float(delta.abs().amax(dim=1).sum())
            self.sums[kind]["l2"] += float(delta.norm(dim=1).sum())

    def result(self) -> Result:
        """Return the table and ``{kind}_acc`` scalars (``acc`` and ``acc5`` for real images)."""
        rows = [self._row(kind) for kind in self.counts]
        scalars = {}
        for row in rows:
            prefix = "" if row["images"] == REAL else f"{row['images']}_"
            scalars[f"{prefix}acc"], scalars[f"{prefix}acc5"] = row["top1"], row["top5"]
        changes = change_rows(self.changes, self.common, self.attacks)
        tables = {"accuracy": rows} | ({"perturbation": changes} if changes else {})
        return Result(self.name, scalars=scalars, tables=tables)

    def _row(self, kind: str) -> Row:
        counts = self.counts[kind]
        n = counts["n"]
        row: Row = {"images": kind, "n": n}
        for k in ("top1", "top5"):
            low, high = wilson_interval(counts[k], n)
            row |= {k: counts[k] / n if n else float("nan"), f"{k}_low": low, f"{k}_high": high}
        extra = dict.fromkeys(("eps", "steps", "success", "label_kept", *_MEANS))
        if kind != REAL and n:
            attack = self.attacks[kind]
            extra |= {"eps": attack.eps, "steps": attack.iterations}
            extra |= {key: counts[key] / n for key in ("success", "label_kept")}
            extra |= {key: value / n for key, value in self.sums[kind].items()}
        return row | extra
