"""What units detect on the images on which an attack succeeds, and on those on which it fails.

Images that are easily fooled may be other images altogether, so whatever is said of them is held against the real
versions of the same images, and against random-sign noise on them.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch

from lightning_advinterp.analyses.dissection.config import NOISE, PAIRED
from lightning_advinterp.analyses.dissection.ratios import ALL, concepts_of, detector_ratios, joined
from lightning_advinterp.core.result import Row
from lightning_advinterp.metrics.concepts import UnitConcepts
from lightning_advinterp.metrics.dissection import ConceptCounts

CHANGES = ("failure", "success")
"""What became of an attack, in the order in which its images are counted."""


def concepts_where(counts: ConceptCounts, change: str) -> UnitConcepts:
    """Return what units detect on the images on which an attack fails, or succeeds.

    Args:
        counts: of one layer, in groups of failures first and of as many of successes.
        change: ``failure`` or ``success``.
    """
    where = torch.tensor([change == name for name in CHANGES]).long()
    return concepts_of(counts, where.repeat_interleave(len(counts.images) // len(CHANGES)))


def success_rows(
    counts: Mapping[str, Mapping[str, ConceptCounts]],
    layers: Mapping[str, Sequence[str]],
    categories: Sequence[str],
    eps: Mapping[str, float | None],
    threshold: float,
) -> Iterator[Row]:
    """Yield the table ``dissection_success``; ratios are empty where there is no image.

    Args:
        counts: view to layer to counts, split by success.
        layers: name in the table to the layers that it stands for.
        categories: their names.
        eps: attack to its ε.
        threshold: IoU from which a unit is a detector.
    """
    for name, parts in layers.items():
        for kind in eps:
            views = {"": kind, "real_": kind + PAIRED, "noise_": kind + NOISE}
            paired = counts[kind + PAIRED][parts[0]].images.tolist()
            for change, images in zip(CHANGES, paired, strict=True):
                ratios = {
                    prefix: detector_ratios(
                        joined([concepts_where(counts[view][layer], change) for layer in parts]), threshold
                    )
                    for prefix, view in views.items()
                    if images and view in counts
                }
                for place, category in enumerate((*categories, ALL)):
                    row: Row = {"layer": name, "images": kind, "change": change, "category": category}
                    row["detectors"] = ratios[""].detectors[place] if ratios else None
                    for prefix in views:
                        view_ratios = ratios.get(prefix)
                        row[f"{prefix}ratio"] = view_ratios.ratio[place] if view_ratios else None
                        row[f"{prefix}unique"] = view_ratios.unique[place] if view_ratios else None
                    units = sum(counts[kind][layer].area.shape[1] for layer in parts)
                    yield row | {"units": units, "n": images, "eps": eps[kind]}
