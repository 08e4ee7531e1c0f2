"""A question of your own: is the network as sure as it is right, on real and on attacked images?

    python evaluate.py --checkpoint runs/quickstart/last.ckpt --analyses examples.extensions.calibration_error.Ece \
        --attack fgsm --ece.bins 15

and during training, as a live curve::

    watch: {examples.extensions.calibration_error.Ece: {attacks: [{type: fgsm, eps: 4/255}]}}
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure

from lightning_advinterp.analyses.base.protocol import Observation, Plan, Sweep
from lightning_advinterp.analyses.base.question import Question, Scene
from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.core.result import REAL, Result
from lightning_advinterp.report.brief import brief_table


class CalibrationAnalysis(Summed):
    """Expected calibration error: Σ n_b/n · |accuracy_b − confidence_b| over bins of confidence (Guo et al. 2017)."""

    name = "ece"
    summed = ("sums",)

    def __init__(self, kinds: tuple[str, ...], bins: int) -> None:
        self.kinds, self.bins = kinds, bins
        self.sums = {kind: torch.zeros(3, bins, dtype=torch.float64) for kind in kinds}

    def bind(self, network: Any) -> Plan:
        return Plan((Sweep(kinds=self.kinds),))

    def update(self, sweep: int, observation: Observation) -> None:
        for kind in self.kinds:
            confidence, predicted = observation.logits[kind].double().softmax(1).max(1)
            place = (confidence * self.bins).long().clamp(max=self.bins - 1)
            values = torch.stack([torch.ones_like(confidence), (predicted == observation.label).double(), confidence])
            self.sums[kind].index_add_(1, place.cpu(), values.cpu())

    def result(self) -> Result:
        rows = []
        for kind, (count, right, confidence) in self.sums.items():
            n = float(count.sum())
            rows.append({"images": kind, "n": int(n), "ece": float((right - confidence).abs().sum()) / n})
        return Result(self.name, {f"ece/{row['images']}": row["ece"] for row in rows}, {"ece": rows})


@dataclass(frozen=True)
class Ece(Question):
    """Whether the network is as sure as it is right.

    Attributes:
        bins: of confidence.
    """

    bins: int = 15
    name: ClassVar[str] = "ece"

    def build(self, scene: Scene) -> list[Any]:
        return [CalibrationAnalysis((REAL, *scene.attacks), self.bins)]

    def figures(self, result: Result, title: str) -> dict[str, Figure]:
        rows, figure = result.tables["ece"], Figure(figsize=(3, 3), layout="constrained")
        figure.subplots().bar([row["images"] for row in rows], [row["ece"] for row in rows])
        figure.suptitle(f"{title}: expected calibration error")
        return {"ece": figure}

    def brief(self, result: Result, title: str) -> Any:
        return brief_table(result.tables["ece"], ("images", "n", "ece"), f"{title}: calibration")
