"""A unit's strongest images side by side, as one small picture: pages and figures show them so."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_advinterp.core.result import Result, Row

SIDE = 72
"""Pixels of an image in a strip, with two of them for the gap to the next."""
_GAP, _DIMMED, _GREY = 2, 0.55, 127
"""The gap's pixels, the brightness of what the unit does not look at, and the gap's."""


def with_strips(pictures: Result) -> Result:
    """Return units' pictures with one strip for each unit in place of a picture and a mask for each image.

    Args:
        pictures: of :class:`~lightning_advinterp.analyses.base.unit_pictures.UnitPictures`.
    """
    tables: dict[str, list[Row]] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for name, rows in pictures.tables.items():
        units: dict[int, list[Row]] = {}
        for row in rows:
            units.setdefault(row["unit"], []).append(row)
        tables[name] = []
        for unit, members in units.items():
            shown = [row for row in members if row["picture"]]
            key = f"{name}-{unit}"
            if shown:
                arrays[key] = _strip(shown, pictures.arrays)
            for row in members:
                strip_row = {column: value for column, value in row.items() if column != "mask"}
                tables[name].append(strip_row | {"picture": key if row["picture"] else None})
    return Result(pictures.name, tables=tables, arrays=arrays)


def _strip(rows: list[Row], arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    strip = np.full((SIDE, SIDE * len(rows), 3), _GREY, np.uint8)
    for place, row in enumerate(rows):
        mask = arrays[row["mask"]] > 0
        dimmed = (arrays[row["picture"]] * np.where(mask, 1.0, _DIMMED)[..., None]).astype(np.uint8)
        small = Image.fromarray(dimmed).resize((SIDE - _GAP, SIDE), Image.Resampling.LANCZOS)
        strip[:, place * SIDE : place * SIDE + SIDE - _GAP] = np.asarray(small)
    return strip


def strips_of(result: Result) -> dict[int, NDArray[np.uint8]]:
    """Return every unit's strip, ``[72, 72 n, 3]``.

    Args:
        result: of tracing, as it was found or as it was read back.
    """
    rows = result.tables.get("tracing_pictures", [])
    return {row["unit"]: result.arrays[row["picture"]] for row in rows if row["picture"]}
