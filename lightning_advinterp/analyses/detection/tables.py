"""The table of detection: AUROC and true positive rates of every detector under every attack."""

from collections.abc import Iterator

import numpy as np

from lightning_advinterp.analyses.detection.errors import image_rows, selective_rows
from lightning_advinterp.analyses.detection.outcome import Adaptive, Flags, Outcome, Values, number
from lightning_advinterp.core.result import Result, Row
from lightning_advinterp.metrics.detection import Detection, detection
from lightning_advinterp.metrics.intervals import wilson_interval

WORST = "worst"
"""The image kind that is, of every image, the least suspicious successful attack's."""


def build_tables(outcome: Outcome) -> Result:
    """Return the result."""
    rows = list(_detection_rows(outcome))
    summary, curves = selective_rows(outcome)
    scalars = {}
    for row in rows:
        key = f"detection/{row['score']}/{row['images']}" + ("/adaptive" if row["adaptive"] else "")
        for column in ("auroc", "tpr_at_5", "evaded"):
            if row[column] is not None:
                scalars[f"{key}/{column}"] = row[column]
    for row in summary:
        scalars[f"detection/{row['score']}/{row['images']}/aurc"] = row["aurc"]
    tables = {"detection": rows, "errors": list(image_rows(outcome))}
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
        for adaptive in outcome.adaptive:
            if adaptive.score == name:
                yield _adaptive_row(outcome, adaptive)


def _adaptive_row(outcome: Outcome, adaptive: Adaptive) -> Row:
    """Return the row of an adaptive attack, beside what plain attacks in its ball do to the same images."""
    attacked = np.full(len(outcome.numbers), np.inf)
    counted = np.zeros(len(outcome.numbers), dtype=bool)
    attacked[adaptive.at], counted[adaptive.at] = adaptive.suspicion, adaptive.wrong
    row = _row(
        outcome, adaptive.score, adaptive.attack, adaptive.eps, attacked, counted, len(adaptive.at), adaptive=True
    )
    passed = int((adaptive.plain <= outcome.levels[adaptive.score].threshold).sum())
    row["plain_evaded"] = passed / len(adaptive.at) if len(adaptive.at) else None
    return row | {"norm": adaptive.norm}


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
    estimates = detection(real, attacked, counted, calibration, outcome.config.rate, seed=outcome.seed)
    alarms = int((real > threshold).sum())
    low, high = wilson_interval(alarms, len(real))
    evaded = int((counted & (attacked <= threshold)).sum())
    row: Row = {"score": name, "images": images, "eps": eps, "n": int(counted.sum())} | _estimates(estimates)
    row |= {"adaptive": adaptive, "attacked": right, "success": _share(counted.sum(), right)}
    evaded_low, evaded_high = wilson_interval(evaded, right)
    row |= {"evaded": _share(evaded, right), "evaded_low": number(evaded_low), "evaded_high": number(evaded_high)}
    row |= {"plain_evaded": None, "real": len(real), "calibrated": len(calibration)}
    row |= {"rate": outcome.config.rate, "threshold": threshold}
    return row | {"false_alarms": alarms / len(real), "false_alarms_low": low, "false_alarms_high": high}


def _estimates(estimates: Detection) -> Row:
    row: Row = {}
    for name, short, estimate in (("auroc", "auroc", estimates.auroc), ("tpr_at_5", "tpr", estimates.tpr)):
        row |= {name: number(estimate.value)}
        row |= {f"{short}_low": number(estimate.low), f"{short}_high": number(estimate.high)}
    return row


def _share(count: int, total: int) -> float | None:
    return int(count) / total if total else None
