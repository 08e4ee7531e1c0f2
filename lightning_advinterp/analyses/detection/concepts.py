"""Which concepts a dissection found for the units that detectors look at."""

import logging
from collections.abc import Mapping
from typing import Any

from lightning_advinterp.analyses.detection.scorer import linear_head
from lightning_advinterp.core.result import Row
from lightning_advinterp.networks.network import Network

logger = logging.getLogger(__name__)


def unit_concepts(
    network: Network, rows: Mapping[tuple[str, int], Row], threshold: float, *, demanded: bool
) -> tuple[int, ...] | None:
    """Return the number of every unit's concept, −1 where it has none; None: there is nothing to go by.

    The units are what the last layer reads. A dissection of φ says something of them where each is the mean of one of
    φ's maps, as after global average pooling.

    Args:
        network: that was dissected.
        rows: of the units of φ, by layer and unit, with ``label`` and ``iou``.
        threshold: IoU from which a unit is a detector.
        demanded: whether the user named this dissection.

    Raises:
        ValueError: if it does not fit, and was named.
    """
    head = linear_head(network)
    labels: dict[int, Any] = {unit: row["label"] for (_, unit), row in rows.items() if (row["iou"] or 0) >= threshold}
    wide = head is not None and len(rows) == head.in_features
    if not (wide and labels):
        width = "no linear layer" if head is None else f"{head.in_features} units"
        message = (
            f"the dissection has {len(rows)} units of φ ({network.phi}), {len(labels)} of them detectors, and the last "
            f"layer of {network.name} reads {width}: it says nothing of these"
        )
        if demanded:
            raise ValueError(f"detection.dissection: {message}; leave it out, or dissect all_conv or last.")
        logger.warning("detection: %s, and every unit stands for a concept of its own.", message)
        return None
    names = sorted(set(labels.values()))
    return tuple(names.index(labels[unit]) if unit in labels else -1 for unit in range(len(rows)))
