"""The tables of detection: AUROC and true positive rates, scores of every image, risk and coverage."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_advinterp.analyses.detection.adaptive import Level
from lightning_advinterp.analyses.detection.config import DetectionConfig
from lightning_advinterp.core.result import REAL, Result, Row
from lightning_advinterp.metrics.detection import Detection, detection
from lightning_advinterp.metrics.detection_scores import suspicion
from lightning_advinterp.metrics.intervals import wilson_interval
from lightning_advinterp.metrics.selective import aurc, best_aurc, risk_at

WORST = "worst"
"""The image kind that is, of every image, the least suspicious successful attack's."""

CURVE_POINTS = 100
"""A risk–coverage curve is written at so many coverages."""

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Kind:
    """What was seen of the reported images of one kind.

    Attributes:
        name: ``real``, or an attack's name.
        eps: of the attack.
        label: ``[N]``.
        predicted: ``[N]``.
        scores: by name ``[N]``, in their natural sense; NaN where missing.
    """

    name: str
    eps: float | None
    label: NDArray[np.int64]
    predicted: NDArray[np.int64]
    scores: Mapping[str, Values]

    @property
    def wrong(self) -> Flags:
        """Whether the prediction is wrong, bool ``[N]``."""
        return np.asarray(self.predicted != self.label)

    def suspicion(self, name: str) -> Values:
        """Return a score as a suspicion."""
        return suspicion(name, torch.from_numpy(self.scores[name])).numpy()


@dataclass(frozen=True)
class Adaptive:
    """What the adaptive attack on one score found.

    Attributes:
        score: attacked together with the class.
        attack: whose ball it had.
        norm: of the ball.
        eps: its radius.
        at: places of the attacked images among the reported ones.
        wrong: whether any image of a wrong class was found.
        suspicion: the least of such an image.
        plain: the least of plain attacks' results in the ball; +∞ where none is wrong.
    """

    score: str
    attack: str
    norm: str
    eps: float
    at: NDArray[np.int64]
    wrong: Flags
    suspicion: Values
    plain: Values


@dataclass(frozen=True)
class Outcome:
    """All that the tables are made of.

    Attributes:
        config: the settings.
        numbers: of the reported images.
        kinds: real first.
        adaptive: one per norm and detector.
        levels: of every score on real images.
        calibration: suspicions of the calibration's images by score.
        seed: of the bootstrap.
    """

    config: DetectionConfig
    numbers: Sequence[int]
    kinds: Sequence[Kind]
    adaptive: Sequence[Adaptive]
    levels: Mapping[str, Level]
    calibration: Mapping[str, Values]
    seed: int


def build_tables(outcome: Outcome) -> Result:
    """Return the result."""
    rows = list(_detection_rows(outcome))
    summary, curves = _selective(outcome)
    scalars = {}
    for row in rows:
        key = f"detection/{row['score']}/{row['images']}" + ("/adaptive" if row["adaptive"] else "")
        for column in ("auroc", "tpr_at_5", "evaded"):
            if row[column] is not None:
                scalars[f"{key}/{column}"] = row[column]
    for row in summary:
        scalars[f"detection/{row['score']}/{row['images']}/aurc"] = row["aurc"]
    tables = {"detection": rows, "errors": list(_image_rows(outcome))}
    return Result("detection", scalars, tables | {"errors_summary": summary, "risk_coverage": curves})


def _detection_rows(outcome: Outcome) -> Iterator[Row]:
    """Yield for every detector a row per attack, the worst of them, and the adaptive ones."""
    real = outcome.kinds[0]
    right = ~real.wrong
    for name in outcome.config.scores:
        suspicions, turned = [], []
        for kind in outcome.kinds[1:]:
            counted = right & kind.wrong
            suspicions.append(np.where(counted, kind.suspicion(name), np.inf))
            turned.append(counted)
            yield _row(outcome, name, kind.name, kind.eps, suspicions[-1], counted, int(right.sum()))
        if turned:
            least, any_turned = np.min(suspicions, axis=0), np.any(turned, axis=0)
            radii = {kind.eps for kind in outcome.kinds[1:]}
            yield _row(
                outcome, name, WORST, radii.pop() if len(radii) == 1 else None, least, any_turned, int(right.sum())
            )
        for found in outcome.adaptive:
            if found.score == name:
                yield _adaptive_row(outcome, found)


def _adaptive_row(outcome: Outcome, found: Adaptive) -> Row:
    """Return the row of an adaptive attack, beside what plain attacks in its ball do to the same images."""
    attacked = np.full(len(outcome.numbers), np.inf)
    counted = np.zeros(len(outcome.numbers), dtype=bool)
    attacked[found.at], counted[found.at] = found.suspicion, found.wrong
    row = _row(outcome, found.score, found.attack, found.eps, attacked, counted, len(found.at), adaptive=True)
    passed = int((found.plain <= outcome.levels[found.score].threshold).sum())
    row["plain_evaded"] = passed / len(found.at) if len(found.at) else None
    return row | {"norm": found.norm}


def _row(
    outcome: Outcome,
    name: str,
    images: str,
    eps: float | None,
    attacked: Values,
    counted: Flags,
    right: int,
    *,
    adaptive: bool = False,
) -> Row:
    """Return one row of ``detection``.

    Args:
        outcome: all that was found.
        name: the score.
        images: what the row is of.
        eps: of the attack.
        attacked: ``[N]``, suspicions under attack.
        counted: bool ``[N]``: the network was right before, and is wrong now.
        right: so many images were attacked that the network had been right about.
        adaptive: whether the attack knew the score.
    """
    real, calibration = outcome.kinds[0].suspicion(name), outcome.calibration[name]
    threshold = outcome.levels[name].threshold
    found = detection(real, attacked, counted, calibration, outcome.config.rate, seed=outcome.seed)
    alarms = int((real > threshold).sum())
    low, high = wilson_interval(alarms, len(real))
    evaded = int((counted & (attacked <= threshold)).sum())
    row: Row = {"score": name, "images": images, "eps": eps, "n": int(counted.sum())} | _estimates(found)
    row |= {"adaptive": adaptive, "attacked": right, "success": _share(counted.sum(), right)}
    evaded_low, evaded_high = wilson_interval(evaded, right)
    row |= {"evaded": _share(evaded, right), "evaded_low": _number(evaded_low), "evaded_high": _number(evaded_high)}
    row |= {"plain_evaded": None, "real": len(real), "calibrated": len(calibration)}
    row |= {"rate": outcome.config.rate, "threshold": threshold}
    return row | {"false_alarms": alarms / len(real), "false_alarms_low": low, "false_alarms_high": high}


def _estimates(found: Detection) -> Row:
    row: Row = {}
    for name, short, estimate in (("auroc", "auroc", found.auroc), ("tpr_at_5", "tpr", found.tpr)):
        row |= {name: _number(estimate.value)}
        row |= {f"{short}_low": _number(estimate.low), f"{short}_high": _number(estimate.high)}
    return row


def _share(count: int, whole: int) -> float | None:
    return int(count) / whole if whole else None


def _number(value: float) -> float | None:
    """Return a number, None where there is none."""
    return None if math.isnan(value) else float(value)


def _image_rows(outcome: Outcome) -> Iterator[Row]:
    """Yield a row per image and kind with every score."""
    right = ~outcome.kinds[0].wrong
    for kind in outcome.kinds:
        turned = right & kind.wrong
        for place, number in enumerate(outcome.numbers):
            row: Row = {"image": number, "label": int(kind.label[place]), "predicted": int(kind.predicted[place])}
            row |= {"images": kind.name, "wrong": bool(kind.wrong[place]), "eps": kind.eps}
            row["success"] = None if kind.name == REAL else bool(turned[place])
            yield row | {name: _number(values[place]) for name, values in kind.scores.items()}


def _selective(outcome: Outcome) -> tuple[list[Row], list[Row]]:
    """Return AURC, and the curves, of every score and kind of images."""
    summary: list[Row] = []
    curves: list[Row] = []
    images = len(outcome.numbers)
    places = np.unique(np.ceil(np.linspace(1 / CURVE_POINTS, 1, CURVE_POINTS) * images).astype(int)) - 1
    for kind in outcome.kinds:
        for name in kind.scores:
            confidence = -kind.suspicion(name)
            area = aurc(confidence, kind.wrong, seed=outcome.seed)
            row: Row = {"score": name, "images": kind.name, "eps": kind.eps, "n": images}
            row |= {"errors": int(kind.wrong.sum()), "error_rate": float(kind.wrong.mean())}
            row |= {"aurc": area.value, "aurc_low": area.low, "aurc_high": area.high}
            missing = int(np.isnan(kind.scores[name]).sum())
            summary.append(row | {"aurc_best": best_aurc(kind.wrong), "missing": missing})
            risks = risk_at(confidence, kind.wrong)
            for place in places:
                point: Row = {"score": name, "images": kind.name, "eps": kind.eps}
                curves.append(point | {"coverage": float((place + 1) / images), "risk": float(risks[place])})
    return summary, curves
