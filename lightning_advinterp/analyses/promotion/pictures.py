"""A few images with the maps of their cells, as data from which figures are drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_advinterp.analyses.promotion.config import PromotionConfig
from lightning_advinterp.analyses.promotion.state import Entry, KindCells
from lightning_advinterp.core.result import Row
from lightning_advinterp.metrics.promotion import cell_types


def pictures_of(
    pictures: Mapping[str, Mapping[int, Entry]],
    cells: Mapping[str, KindCells | None],
    entries: Mapping[str, Mapping[int, Entry]],
    config: PromotionConfig,
    names: Sequence[str],
) -> tuple[list[Row], dict[str, NDArray[Any]]]:
    """Return the table ``promotion_pictures``, a row per attack and image, and the arrays that it names.

    Args:
        pictures: images and maps by attack and number.
        cells: the cells' effects.
        entries: what was kept of each image.
        config: ξ, threshold and grid.
        names: of the classes.

    Returns:
        Rows ``image, images, true, target, map, cell, picture, adversarial, true_map, target_map, promotion,
        suppression, types``. The last seven are keys of arrays: uint8 images and maps, and by effect and logits the
        cells' values, float64 ``[3, 3, rows, columns]``, and codes of types, int64.
    """
    rows: list[Row] = []
    arrays: dict[str, NDArray[Any]] = {}
    for kind, shown in pictures.items():
        attacked = cells[kind]
        if attacked is None:
            continue
        for number, entry in sorted(shown.items()):
            place = attacked.numbers.index(number)
            grid = config.grid(*entries[kind][number]["size"])
            gain, loss = (values[place] for values in attacked.effects)
            types = cell_types(gain, loss, attacked.active[place], config.xi, config.threshold)
            stem = f"promotion-{kind}-{number}"
            values = {
                "picture": entry["image"],
                "adversarial": entry["adversarial"],
                "true_map": entry["true"],
                "target_map": entry["target"],
                "promotion": gain.view(3, 3, *grid.shape),
                "suppression": loss.view(3, 3, *grid.shape),
                "types": types.view(3, 3, *grid.shape),
            }
            target, true = (_named(names, label) for label in attacked.classes[place])
            row: Row = {"image": number, "images": kind, "true": true, "target": target, "map": entry["map"]}
            rows.append(row | {"cell": grid.cell} | {key: f"{stem}-{key}" for key in values})
            arrays |= {f"{stem}-{key}": np.asarray(value) for key, value in values.items()}
    return rows, arrays


def _named(names: Sequence[str], label: int) -> str:
    """Return what a class is called for people, its number where no name is known."""
    return names[label].split(",")[0] if label < len(names) else f"class {label}"
