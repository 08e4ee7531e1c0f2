"""What the unit explorer shows, as data for the page's script."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_advinterp.core.names import printable
from lightning_advinterp.core.result import REAL
from lightning_advinterp.report.page.pictures import thumbnail_uri
from lightning_advinterp.report.page.stored import StoredEvaluation
from lightning_advinterp.report.page.units import driving_images, unit_table

_IMAGES = 8
"""Top images of a unit and a kind."""
_SPOKEN = 12
"""Predictions that a unit speaks for."""


def explorer_data(evaluations: Sequence[StoredEvaluation]) -> dict[str, Any] | None:
    """Return the data of the explorer; None where no evaluation has units.

    Text columns, layers and networks are numbers into lists of texts, so that 5,000 units take little room.

    Args:
        evaluations: of the page.
    """
    table = unit_table(evaluations)
    if not table.units:
        return None
    layers = list(dict.fromkeys(layer for _, layer, _ in table.units))
    places = {layer: place for place, layer in enumerate(layers)}
    columns = [_column(title, column) for title, column in table.columns.items()]
    images = [_images(evaluation, network, table.units) for network, evaluation in enumerate(evaluations)]
    return {
        "networks": [printable(evaluation.title, keep="") for evaluation in evaluations],
        "layers": [printable(layer, keep="") for layer in layers],
        "units": [[network, places[layer], unit] for network, layer, unit in table.units],
        "columns": columns,
        "images": images,
    }


def _column(title: str, column: dict[str, Any]) -> dict[str, Any]:
    head = {
        "title": printable(title, keep=""),
        "kind": printable(column["kind"], keep=""),
        "measure": column["measure"],
    }
    if column["number"]:
        return head | {"number": True, "values": column["values"]}
    texts = sorted({value for value in column["values"] if value is not None})
    places = {text: place for place, text in enumerate(texts)}
    codes = [None if value is None else places[value] for value in column["values"]]
    return head | {"number": False, "texts": [printable(text, keep="") for text in texts], "values": codes}


def _images(evaluation: StoredEvaluation, network: int, units: Sequence[tuple[int, str, int]]) -> list[dict[str, Any]]:
    """Return top images by the question that ranked them: their numbers by unit, their pictures, and what they are."""
    groups = []
    spoken = _spoken(evaluation)
    names = class_names(evaluation)
    for table, pictures, where in (
        ("semantics", "panels", "images that drive it most"),
        ("dissection", "dissection_pictures", "images with labels of concepts that drive it most"),
    ):
        driving = driving_images(evaluation, table, _IMAGES)
        if not driving:
            continue
        used = {kind: {image for images in by_unit.values() for image in images} for kind, by_unit in driving.items()}
        captions = _captions(evaluation, names) if table == "semantics" else {}
        # A unit that no image drives has an empty list; None says that the question did not look at its layer.
        ranked = {layer for by_unit in driving.values() for layer, _ in by_unit}
        groups.append(
            {
                "title": where,
                "kinds": [
                    {
                        "kind": printable(kind, keep=""),
                        "top": [
                            by_unit.get((layer, unit), []) if at == network and layer in ranked else None
                            for at, layer, unit in units
                        ],
                        "pictures": _pictures(evaluation, pictures, kind, used[kind]),
                        "captions": {str(image): captions.get(kind, {}).get(image, "") for image in sorted(used[kind])},
                    }
                    for kind, by_unit in driving.items()
                ],
                "spoken": [spoken.get((layer, unit), []) if at == network else [] for at, layer, unit in units]
                if table == "semantics" and spoken
                else None,
            }
        )
    return groups


def _pictures(evaluation: StoredEvaluation, name: str, kind: str, numbers: set[int]) -> dict[str, str]:
    pictures = {}
    for image in sorted(numbers):
        path: Path | None = evaluation.image(f"{name}-{kind}-{image}")
        if path is not None:
            pictures[str(image)] = thumbnail_uri(path)
    return pictures


def class_names(evaluation: StoredEvaluation) -> dict[str, str]:
    """Return the names of outputs that the tables say."""
    names: dict[str, str] = {}
    for table, index, name in (
        ("semantics", "mode_index", "mode_class"),
        ("panels", "predicted", "predicted_name"),
        ("tracing", "class_index", "class_name"),
    ):
        for row in evaluation.rows(table, index, name):
            names[row[index]] = row[name]
    return names


def _captions(evaluation: StoredEvaluation, names: dict[str, str]) -> dict[str, dict[int, str]]:
    """Return by kind and image what it is, and what the network takes it for."""
    rows = evaluation.rows("predictions", "image", "label", REAL)
    kinds = [kind for kind in rows[0] if kind not in ("image", "label")] if rows else []
    captions: dict[str, dict[int, str]] = {kind: {} for kind in kinds}
    numbers = _image_numbers(evaluation)
    for row in rows:
        image = int(row["image"]) if row["image"].isdigit() else numbers.get(row["image"])
        if image is None:
            continue
        label = printable(names.get(row["label"], f"class {row['label']}"), keep="")
        for kind in kinds:
            predicted = printable(names.get(row[kind], f"class {row[kind]}"), keep="")
            captions[kind][image] = label if row[kind] == row["label"] else f"{label} → {predicted}"
    return captions


def _image_numbers(evaluation: StoredEvaluation) -> dict[str, int]:
    """Return the numbers of images by path, which panels tells of the pictures that it stores.

    A row's place among the predictions is no number: of a limited choice of images both differ.
    """
    rows = evaluation.rows("panels", "image", "picture")
    return {row["image"]: int(row["picture"].rpartition("-")[2]) for row in rows if row["picture"]}


def _spoken(evaluation: StoredEvaluation) -> dict[tuple[str, int], list[str]]:
    """Return the traced predictions that units speak for, the strongest first."""
    spoken: dict[tuple[str, int], list[tuple[int, str]]] = {}
    for row in evaluation.rows(
        "tracing", "image", "images", "class", "class_name", "layer", "unit", "rank", "difference"
    ):
        if row["class"] != "predicted" or not row["rank"]:
            continue
        text = f"{row['class_name']} on {row['image']} ({row['images']}): rank {row['rank']}, {row['difference']}"
        spoken.setdefault((row["layer"], int(row["unit"])), []).append((int(row["rank"]), printable(text, keep="")))
    return {unit: [text for _, text in sorted(items)[:_SPOKEN]] for unit, items in spoken.items()}


def as_script(data: Any) -> str:
    r"""Return data as JSON that can stand inside a script element: no name in it ends the element or begins a comment.

    >>> as_script("</script><!--")
    '"\\u003c/script>\\u003c!--"'
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text
