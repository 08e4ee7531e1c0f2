"""How far the gradient turns along the level set, beside what curvature allows it (Dombrowski et al. 2019)."""

from collections.abc import Sequence

from torch import Tensor

from lightning_advinterp.analyses.fragility.tables import summarised
from lightning_advinterp.core.randomness import normal
from lightning_advinterp.core.result import Row, is_missing
from lightning_advinterp.metrics.hessian import Hessian, Score, largest_eigenvalue
from lightning_advinterp.metrics.intervals import wilson_interval
from lightning_advinterp.metrics.level_set import CORRECTIONS, Waypoint, walk

WALKS = ("principal", "random")
"""Where walks set out: along the principal curvature of largest magnitude, and along any tangent."""
FINITE_STEP = 1e-3
"""By what share of the bound a turn may exceed it and still count as within: waypoints lie apart."""
_RANDOM = 0x77616C6B  # "walk"


def walk_passes(steps: int, lanczos: int) -> tuple[int, int]:
    """Return forward and backward passes of an image by :func:`walk_rows`; a product with the Hessian counts as two."""
    products = 2 * (lanczos + 1)
    forwards = 1 + len(WALKS) * (1 + steps * (CORRECTIONS + 1))
    backwards = 1 + products + len(WALKS) * (1 + products + steps * (CORRECTIONS + 1 + products))
    return forwards, backwards


def walk_rows(score: Score, x: Tensor, keys: Tensor, *, step: float, steps: int, lanczos: int) -> list[list[Row]]:
    """Walk from every image in every direction of :data:`WALKS`.

    Args:
        score: g, see :func:`~lightning_advinterp.metrics.level_set.walk`.
        x: ``[B, C, H, W]``.
        keys: int64 ``[B]``.
        step: length of a step, in the 2-norm over all pixels.
        steps: number of steps.
        lanczos: dimension of the Krylov space.

    Returns:
        For every image its rows: ``walk, step, distance, turn, principal, bound, slack, within, drift``.
    """
    hessian = Hessian(score, x)
    like = hessian.gradient
    directions = {
        "principal": largest_eigenvalue(hessian.level_set(), like, keys, steps=lanczos).vector,
        "random": normal(keys, like.shape[1:], stream=_RANDOM).to(like),
    }
    rows: list[list[Row]] = [[] for _ in keys]
    for name in WALKS:
        waypoints = walk(score, x, directions[name], keys, step=step, steps=steps, lanczos=lanczos)
        for number, waypoint in enumerate(waypoints, 1):
            for place, image_rows in enumerate(rows):
                image_rows.append({"walk": name, "step": number} | _measures(waypoint, place))
    return rows


def _measures(waypoint: Waypoint, place: int) -> Row:
    """Return the columns of one image of a batch."""
    turn, bound = waypoint.turn[place].item(), waypoint.bound[place].item()
    within = None if is_missing(bound - turn) else turn <= bound * (1 + FINITE_STEP)
    row: Row = {"distance": waypoint.distance[place].item(), "turn": turn}
    row |= {"principal": waypoint.principal[place].item(), "bound": bound, "slack": bound - turn, "within": within}
    return row | {"drift": waypoint.drift[place].item()}


def walk_summary(rows: Sequence[Row]) -> list[Row]:
    """Return for every walk and step the medians over images, and on how many the turn is within the bound.

    Args:
        rows: the table ``curvature_walk``.
    """
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["walk"], row["step"]), []).append(row)
    summary = []
    for (name, step), steps in groups.items():
        judged = [row for row in steps if row["within"] is not None]
        line: Row = {"walk": name, "step": step, "n": len(judged), "missing": len(steps) - len(judged)}
        for measure in ("distance", "turn", "bound"):
            line |= summarised(measure, [row[measure] for row in judged])
        line |= summarised("used", [row["turn"] / row["bound"] for row in judged if row["bound"] > 0])
        low, high = wilson_interval(sum(row["within"] for row in judged), len(judged))
        share = sum(row["within"] for row in judged) / len(judged) if judged else None
        summary.append(line | {"within": share, "within_low": low, "within_high": high})
    return summary
