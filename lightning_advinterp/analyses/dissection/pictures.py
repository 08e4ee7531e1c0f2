"""The best detectors of a dissection as panels: their images, and where in them they are active."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_advinterp.analyses.base.unit_images import Pictures, UnitImages, Wanted, take_pictures
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.result import REAL, Row
from lightning_advinterp.networks.network import Network


def detector_pictures(
    network: Network,
    dataset: Any,
    attacks: Mapping[str, Attack],
    rows: Sequence[Row],
    best: Sequence[Row],
    images: UnitImages,
    **options: Any,
) -> list[tuple[Row, Pictures]]:
    """Return the rows of chosen units, on real images and under every attack, each with its pictures.

    Args:
        network: the network.
        dataset: the concept images.
        attacks: name to attack.
        rows: the table ``dissection``.
        best: the chosen units' rows on real images.
        images: which images these units answer most to.
        **options: of :func:`~lightning_advinterp.analyses.base.unit_images.take_pictures`.
    """
    by = {(row["layer"], row["unit"], row["images"]): row for row in rows}
    chosen = [by[row["layer"], row["unit"], kind] for row in best for kind in (REAL, *attacks)]
    wanted = [
        Wanted(
            row["tap"],
            row["unit"],
            row["images"],
            tuple(images.of(row["images"], row["layer"], row["unit"])),
            row["threshold"],
        )
        for row in chosen
    ]
    return list(zip(chosen, take_pictures(network, dataset, attacks, wanted, **options), strict=True))
