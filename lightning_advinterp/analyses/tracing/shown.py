"""What the pages of predictions show beside the table ``tracing``, as tables of their own.

- ``tracing_pages``, a row per image with a page and image kind: ``image, images, picture`` (key of
  an array), ``label, predicted`` (numbers), ``label_name, predicted_name, confidence, support, layer, form, baseline``.
- ``tracing_classes``: the most likely classes, ``rank, class_index, class_name, probability``.
- ``tracing_removed``: what the network says without the first 1, 2, … ``named`` units of a class together, and without
  ``control`` units: ``class, class_index, class_name, which, count, units, probability`` (of the class), ``predicted,
  predicted_name, predicted_probability``.
- ``tracing_centres``: the classes whose centres are nearest, ``rank, class_index, class_name, distance``: between means
  over places of the layer's output, the image itself left out.
- ``tracing_switched``: units that an attack switched ``on`` or ``off`` most, ``layer, unit, switch, real, attacked``
  (mean activations) and what they mean.
"""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from lightning_advinterp.analyses.tracing.errors import error_rows, summary_rows, summary_scalars, support_of
from lightning_advinterp.analyses.tracing.images import TracedImages
from lightning_advinterp.analyses.tracing.tables import Traces, switched, tracing_rows
from lightning_advinterp.core.result import REAL, Result, Row


def build_result(name: str, traces: Traces, paged: Sequence[int], pictures: Result) -> Result:
    """Return all tables, scalars and pictures.

    Args:
        name: of the analysis.
        traces: what was traced.
        paged: numbers of the data's images that get a page.
        pictures: of the units on pages.
    """
    errors = error_rows(traces)
    summary = summary_rows(errors, traces) if errors else []
    tables: dict[str, list[Row]] = {"tracing": tracing_rows(traces), "tracing_errors": errors}
    tables["tracing_summary"] = summary
    shown = ("pages", "classes", "removed", "centres", "switched")
    tables |= {f"tracing_{part}": [] for part in shown}
    arrays: dict[str, NDArray[Any]] = dict(pictures.arrays)
    for images, number, image in traces.shown(paged):
        for kind in traces.kinds:
            head, traced = traces.head(image, kind), images.found[number][kind]
            picture = f"tracing-{'file' if images is traces.files else 'image'}-{number}-{kind}"
            arrays[picture] = images.picture(number, kind)
            tables["tracing_pages"].append(head | _page_row(traces, images, number, kind, picture))
            tables["tracing_classes"] += [head | row for row in _class_rows(traces, traced["top"])]
            tables["tracing_removed"] += [head | row for row in _removed_rows(traces, traced)]
            tables["tracing_centres"] += [head | row for row in _centre_rows(traces, images, number, kind)]
            if kind != REAL:
                tables["tracing_switched"] += [head | row for row in _switched_rows(traces, images, number, kind)]
    tables |= pictures.tables
    return Result(name, summary_scalars(summary), tables, arrays)


def _page_row(traces: Traces, images: TracedImages, number: int, kind: str, picture: str) -> Row:
    traced, label = images.found[number][kind], images.labels[number]
    row: Row = {"picture": picture, "label": label if label >= 0 else None, "predicted": traced["predicted"]}
    row |= {"label_name": traces.names.of(label), "predicted_name": traces.names.of(traced["predicted"])}
    row |= {"confidence": traced["confidence"], "support": support_of(traces, images, number, kind)}
    return row | traces.main | {"eps": traces.eps(kind)}


def _class_rows(traces: Traces, top: Sequence[tuple[int, float]]) -> list[Row]:
    return [
        {"rank": rank, "class_index": number, "class_name": traces.names.of(number), "probability": probability}
        for rank, (number, probability) in enumerate(top)
    ]


def _removed_rows(traces: Traces, traced: Any) -> list[Row]:
    rows: list[Row] = []
    for row in traced["removed"]:
        names = {"class_name": traces.names.of(row["class_index"]), "predicted_name": traces.names.of(row["predicted"])}
        rows.append(row | names)
    return rows


def _centre_rows(traces: Traces, images: TracedImages, number: int, kind: str) -> list[Row]:
    inside = images is traces.data and bool(traces.knowledge.centres)
    nearest = traces.knowledge.nearest_centres(images.features(number, kind), images.labels[number], inside=inside)
    return [
        {"rank": rank, "class_index": label, "class_name": traces.names.of(label), "distance": distance}
        for rank, (label, distance) in enumerate(nearest)
    ]


def _switched_rows(traces: Traces, images: TracedImages, number: int, kind: str) -> list[Row]:
    layer = traces.layers[-1].layer
    before, after = images.features(number, REAL), images.features(number, kind)
    rows: list[Row] = []
    for unit, change in switched(images, number, kind):
        row: Row = {"layer": layer, "unit": unit, "switch": "on" if change > 0 else "off"}
        row |= {"real": float(before[unit]), "attacked": float(after[unit])}
        rows.append(row | traces.described(layer, unit) | {"eps": traces.eps(kind)})
    return rows
