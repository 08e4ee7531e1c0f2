"""Accuracy on real and adversarial images: Table 2 of Dong et al. 2022."""

from collections.abc import Mapping
from typing import Any

from lightning_advinterp.analyses.base.protocol import Needs, Observation, Sweep
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.result import REAL, Result, Row
from lightning_advinterp.metrics.accuracy import top_k_hits
from lightning_advinterp.metrics.intervals import wilson_interval
from lightning_advinterp.networks.network import Network

_COUNTS = ("n", "top1", "top5", "success", "label_kept")
_MEANS = ("linf", "l2")


class AccuracyAnalysis:
    """Top-1 and top-5 accuracy per image kind, with 95 % Wilson intervals.

    Args:
        attacks: name to attack; every name is an image kind beside ``real``.

    The table ``accuracy`` has one row per kind: ``images, n, top1, top1_low, top1_high, top5, top5_low,
    top5_high`` as shares in [0, 1], then for attacks ``eps`` (the largest), ``steps``, ``success`` (share of images
    predicted as the attack wanted: not the label it moved away from, or the target), ``label_kept`` (share whose
    prediction is that of the real image), and the mean distances ``linf`` and ``l2``.
    """

    name = "accuracy"

    def __init__(self, attacks: Mapping[str, Attack] | None = None) -> None:
        self.attacks = dict(attacks or {})
        self._counts = {kind: dict.fromkeys(_COUNTS, 0) for kind in (REAL, *self.attacks)}
        self._sums = {kind: dict.fromkeys(_MEANS, 0.0) for kind in self.attacks}

    def needs(self, network: Network) -> Needs:
        """One sweep over real images and every attack's."""
        return Needs((Sweep(kinds=(REAL, *self.attacks)),))

    def update(self, sweep: int, seen: Observation) -> None:
        """Count the hits of one batch."""
        real = seen.logits[REAL].argmax(dim=1)
        for kind, counts in self._counts.items():
            logits = seen.logits[kind]
            counts["n"] += len(seen.label)
            for k in (1, 5):
                counts[f"top{k}"] += int(top_k_hits(logits, seen.label, k).sum())
            if kind == REAL:
                continue
            counts["success"] += int(seen.success[kind].sum())
            counts["label_kept"] += int((logits.argmax(dim=1) == real).sum())
            delta = (seen.images[kind] - seen.images[REAL]).flatten(1).double()
            self._sums[kind]["linf"] += float(delta.abs().amax(dim=1).sum())
            self._sums[kind]["l2"] += float(delta.norm(dim=1).sum())

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's counts."""
        for own, other in ((self._counts, state["counts"]), (self._sums, state["sums"])):
            for kind, values in other.items():
                for key, value in values.items():
                    own[kind][key] += value

    def state_dict(self) -> dict[str, Any]:
        """Return the counts and sums."""
        return {
            "counts": {kind: dict(values) for kind, values in self._counts.items()},
            "sums": {kind: dict(values) for kind, values in self._sums.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the counts and sums."""
        self._counts = {kind: dict(values) for kind, values in state["counts"].items()}
        self._sums = {kind: dict(values) for kind, values in state["sums"].items()}

    def result(self) -> Result:
        """Return the table and ``{kind}_acc`` scalars (``acc`` and ``acc5`` for real images)."""
        rows = [self._row(kind) for kind in self._counts]
        scalars = {}
        for row in rows:
            prefix = "" if row["images"] == REAL else f"{row['images']}_"
            scalars[f"{prefix}acc"], scalars[f"{prefix}acc5"] = row["top1"], row["top5"]
        return Result(self.name, scalars=scalars, tables={"accuracy": rows})

    def _row(self, kind: str) -> Row:
        counts = self._counts[kind]
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
            extra |= {key: value / n for key, value in self._sums[kind].items()}
        return row | extra
