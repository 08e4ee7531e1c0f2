"""The images of a fragility analysis with their maps, before and after attacks, as data."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from lightning_advinterp.analyses.fragility.config import Case
from lightning_advinterp.analyses.fragility.state import FragilityState
from lightning_advinterp.core.result import Row


def pictures_of_state(state: FragilityState, cases: Sequence[Case]) -> tuple[list[Row], dict[str, NDArray[Any]]]:
    """Return the table ``fragility_pictures``, a row per method, image and attack, and the arrays that it names.

    Args:
        state: with its pictures.
        cases: what its numbers stand for.

    Returns:
        Rows ``image, method, attack, eps, topk, spearman, success, no_map, picture, map, moved, moved_map``. The last
        four are keys of arrays: the image uint8 ``[H, W, 3]``, its map uint8 ``[H, W]``, and both under attack.
    """
    rows: list[Row] = []
    arrays: dict[str, NDArray[Any]] = {}
    for method in dict.fromkeys(case.method for case in cases):
        for image, picture in sorted(state.pictures.items()):
            for number in sorted(picture.cases):
                case = cases[number]
                if case.method != method:
                    continue
                measured = state.rows[image][number]
                keys = {
                    "picture": f"fragility-{image}",
                    "map": f"fragility-{image}-{method}",
                    "moved": f"fragility-{image}-case{number}",
                    "moved_map": f"fragility-{image}-case{number}-map",
                }
                moved, moved_map = picture.cases[number]
                values = (picture.image, picture.maps[method], moved, moved_map)
                arrays |= {key: value.numpy() for key, value in zip(keys.values(), values, strict=True)}
                row: Row = {"image": image, "method": method, "attack": case.attack.label_name, "eps": case.eps}
                rows.append(row | {key: measured.get(key) for key in ("topk", "spearman", "success", "no_map")} | keys)
    return rows, arrays
