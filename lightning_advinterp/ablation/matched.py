"""Arms compared at equal clean accuracy: a robust network that gave up clean accuracy is no fair rival."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lightning_advinterp.core.names import markdown_cell
from lightning_advinterp.core.result import REAL, Row
from lightning_advinterp.metrics.bootstrap import paired_bootstrap

Runs = Mapping[str, Mapping[str, NDArray[np.bool_]]]


def distinct_runs(tested: Sequence[tuple[Sequence[int], Runs]]) -> Runs:
    """Gather the runs of all checkpoints; a best epoch that was the last one is one run, not two.

    Args:
        tested: of every checkpoint the seeds, and image kind to arm to bool ``[S, N]``, whether each image is right.

    Returns:
        Image kind to arm to bool ``[R, N]``; an arm has a run per seed and checkpoint, less those of a seed that are
        right on the same images of all kinds.
    """
    runs: dict[str, dict[tuple[int, bytes], NDArray[np.bool_]]] = {}
    for seeds, outcomes in tested:
        for arm in next(iter(outcomes.values())):
            every = np.stack([outcomes[kind][arm] for kind in outcomes], axis=1)  # [S, kinds, N]
            for seed, run in zip(seeds, every, strict=True):
                runs.setdefault(arm, {})[seed, run.tobytes()] = run
    kinds = tested[0][1]
    return {
        kind: {arm: np.stack([run[at] for run in by_checkpoint.values()]) for arm, by_checkpoint in runs.items()}
        for at, kind in enumerate(kinds)
    }


def matched_rows(outcomes: Runs, reference: str, *, tolerance: float = 0.01) -> list[Row]:
    """Pair every run of an arm with the reference's run of the nearest clean accuracy.

    A run is one seed at one checkpoint (:func:`distinct_runs`). Runs whose nearest partner is farther than
    ``tolerance`` are left out; a reference's run may be the partner of several. The interval is a paired bootstrap over
    pairs and images.

    Args:
        outcomes: image kind to arm to bool ``[R, N]``, whether each of R runs is right on each image.
        reference: the arm that the others are compared with.
        tolerance: the largest difference of clean accuracies within a pair.

    Returns:
        A row per arm and attack: ``arm, images, pairs, runs, clean, clean_reference, top1, difference,
        difference_low, difference_high``; the last six are missing where there is no pair.
    """
    clean = {arm: hits.mean(axis=1) for arm, hits in outcomes[REAL].items()}
    rows: list[Row] = []
    for arm in clean:
        if arm == reference:
            continue
        distance = np.abs(clean[arm][:, None] - clean[reference][None])
        partner = distance.argmin(axis=1)
        (matched,) = np.nonzero(distance.min(axis=1) <= tolerance)
        for kind in outcomes:
            if kind == REAL:
                continue
            row: Row = {"arm": arm, "images": kind, "pairs": len(matched), "runs": len(partner)}
            names = ("clean", "clean_reference", "top1", "difference", "difference_low", "difference_high")
            row |= dict.fromkeys(names)
            if len(matched):
                pair = {arm: outcomes[kind][arm][matched], reference: outcomes[kind][reference][partner[matched]]}
                difference = paired_bootstrap(pair, reference)[arm]
                means = (clean[arm][matched].mean(), clean[reference][partner[matched]].mean(), pair[arm].mean())
                row |= dict(zip(names, (*map(float, means), *difference), strict=True))
            rows.append(row)
    return rows


def matched_markdown(rows: Sequence[Row], reference: str) -> str:
    """Return the comparison as a Markdown table."""
    if not rows:
        return ""
    lines = [f"at matched clean accuracy: runs (seeds and checkpoints) paired with runs of {reference}\n"]
    lines.append(
        "| arm | images | pairs of runs | clean, both | difference under attack |\n| --- | --- | --- | --- | --- |"
    )
    for row in rows:
        both = difference = "no run near enough"
        if row["pairs"]:
            both = f"{100 * row['clean']:.1f}, {100 * row['clean_reference']:.1f}"
            low, high = 100 * row["difference_low"], 100 * row["difference_high"]
            difference = f"{100 * row['difference']:+.1f} [{low:+.1f}, {high:+.1f}]"
        pairs = f"{row['pairs']} of {row['runs']}"
        lines.append(
            f"| {markdown_cell(row['arm'])} | {markdown_cell(row['images'])} | {pairs} | {both} | {difference} |"
        )
    return "\n".join(lines) + "\n"
