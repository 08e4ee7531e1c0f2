"""What analyses that keep a time take at most."""

from collections.abc import Iterable

from lightning_advinterp.analyses.base.protocol import Analysis, Timed


def time_limits(analyses: Iterable[Analysis], processes: int) -> dict[str, float]:
    """Return the seconds that analyses take at most on all processes together, of those that keep a time."""
    limits = {analysis.name: analysis.time_limit for analysis in analyses if isinstance(analysis, Timed)}
    return {name: limit * processes for name, limit in limits.items() if limit is not None}


def limited(seconds: float, limit: float | None, images: float) -> float:
    """Return the seconds that are taken of so many: the first image always is."""
    return seconds if limit is None else min(seconds, max(limit, seconds / max(1, images)))
