"""The tables of errors: scores of every image, risk and coverage."""

from collections.abc import Iterator

import numpy as np

from lightning_advinterp.analyses.detection.outcome import Outcome, number
from lightning_advinterp.core.result import REAL, Row
from lightning_advinterp.metrics.selective import aurc, best_aurc, risk_at

CURVE_POINTS = 100
"""A risk–coverage curve is written at so many coverages."""


def image_rows(outcome: Outcome) -> Iterator[Row]:
    """Yield a row per image and kind with every score."""
    right = ~outcome.kinds[0].wrong
    for kind in outcome.kinds:
        turned = right & kind.wrong
        for place, image in enumerate(outcome.numbers):
            row: Row = {"image": image, "label": int(kind.label[place]), "predicted": int(kind.predicted[place])}
            row |= {"images": kind.name, "wrong": bool(kind.wrong[place]), "eps": kind.eps}
            row["success"] = None if kind.name == REAL else bool(turned[place])
            yield row | {name: number(values[place]) for name, values in kind.scores.items()}


def selective_rows(outcome: Outcome) -> tuple[list[Row], list[Row]]:
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
