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
        Rows ``image, method, attack, eps, topk, spearman, success, no_map, target, picture, map, moved, moved_map``.
        The last five are keys of arrays: the map that the attack aims at, uint8 ``[H, W]`` (None where it aims at
        none), the image uint8 ``[H, W, 3]``, its map uint8 ``[H, W]``, and both under attack.
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
                if len(picture.cases[number]) > 2:
                    keys["target"] = f"fragility-{image}-case{number}-target"
                values = (picture.image, picture.maps[method], *picture.cases[number])
                arrays |= {key: value.numpy() for key, value in zip(keys.values(), values, strict=True)}
                row: Row = {"image": image, "method": method, "attack": case.attack.label_name, "eps": case.eps}
                rows.append(row | {key: measured.get(key) for key in ("topk", "spearman", "success", "no_map")})
                rows[-1] |= {"target": None} | keys
    return rows, arrays
