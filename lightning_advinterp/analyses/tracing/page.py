"""One page for one prediction: self-contained HTML, from stored results alone."""

import base64
import io
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from lightning_advinterp.analyses.tracing.sentences import (
    NOTHING,
    column_heading,
    percent,
    sentence,
    too_few,
    units_with_meaning,
)
from lightning_advinterp.analyses.tracing.strips import strips_of
from lightning_advinterp.core.names import printable
from lightning_advinterp.core.result import REAL, Result, Row

_REPLACED = {
    "zero": "is set to zero",
    "mean": "is set to its mean over the data set",
    "sampled": "is taken from other images of the data set",
}
_FORMS = {"probability": "probability, in points", "logit": "logit", "log_odds": "log-odds, in bits"}


def prediction_pages(result: Result, title: str) -> dict[str, str]:
    """Return a page for every image of the table ``tracing_pages``, by what the page is called.

    Names of files and classes come from users' folders: everything is escaped.

    Args:
        result: tables and arrays of tracing, as they were found or as they were read back.
        title: what the network is called.
    """
    source = resources.files("lightning_advinterp.analyses.tracing").joinpath("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, finalize=_shown)
    template = environment.from_string(source)
    card = environment.from_string(_CARD)
    strips = {unit: _jpeg(strip, 75) for unit, strip in strips_of(result).items()}

    def unit_card(unit: Mapping[str, Any]) -> Markup:
        return Markup(card.render(unit=unit))  # the template has escaped everything in it

    images = list(dict.fromkeys(row["image"] for row in result.tables["tracing_pages"]))
    names = _page_names([str(image) for image in images])
    pages = {}
    for image, name in zip(images, names, strict=True):
        parts = [_part(result, row, strips) for row in result.tables["tracing_pages"] if row["image"] == image]
        first = parts[0]
        pages[name] = template.render(
            title=title,
            image=image,
            parts=parts,
            layer=first["layer"],
            form=_FORMS[first["form"]],
            replaced=_REPLACED[first["baseline"]],
            unit_card=unit_card,
            strips=bool(strips),
            concepts=any(row["label"] is not None for row in result.tables["tracing"]),
        )
    return pages


_CARD = """<div class="unit"><div class="head">
<strong>unit {{ unit.number }}</strong><span>{{ unit.value }}</span></div>
{% if unit.width is not none %}<div class="track"><span style="width: {{ unit.width }}%"></span></div>{% endif %}
{% if unit.meaning %}<div>{{ unit.meaning }}</div>{% endif %}
{% if unit.measures %}<div class="soft">{{ unit.measures }}</div>{% endif %}
{% if unit.strip %}<img src="{{ unit.strip }}" alt="images that drive unit {{ unit.number }} most">{% endif %}</div>"""


def _shown(value: Any) -> Any:
    """Write what nobody would see, and what turns the text around it, as escapes."""
    return printable(value, keep="") if isinstance(value, str) and not isinstance(value, Markup) else value


def _page_names(images: Sequence[str]) -> list[str]:
    """Return the files' own names where these tell the images apart, else their paths."""
    short = [PurePosixPath(image).name or image for image in images]
    return [name if short.count(name) == 1 else image for name, image in zip(short, images, strict=True)]


def _rows(result: Result, table: str, page: Row) -> list[Row]:
    return [row for row in result.tables[table] if row["image"] == page["image"] and row["images"] == page["images"]]


def _part(result: Result, page: Row, strips: Mapping[int, str]) -> dict[str, Any]:
    """Return what a page says of one image kind."""
    rows = [row for row in _rows(result, "tracing", page) if _is_main(row, page)]
    removed = _rows(result, "tracing_removed", page)
    real = next(
        row for row in result.tables["tracing_pages"] if row["image"] == page["image"] and row["images"] == REAL
    )
    attacked = page["images"] != REAL
    switched = _rows(result, "tracing_switched", page) if attacked else []
    return {
        "kind": page["images"],
        "sentence": sentence(page, rows, removed, real if attacked else None, switched),
        "picture": _jpeg(result.arrays[page["picture"]], 85),
        "before": _jpeg(result.arrays[real["picture"]], 85) if attacked else None,
        "classes": [
            {
                "name": row["class_name"],
                "value": percent(row["probability"]),
                "width": f"{100 * row['probability']:.1f}",
            }
            for row in _rows(result, "tracing_classes", page)
        ],
        "centres": [
            {"name": row["class_name"], "value": f"{row['distance']:.2f}"}
            for row in _rows(result, "tracing_centres", page)
        ],
        "support": None if page["support"] is None else f"{page['support']:.2f}",
        "columns": _columns(page, rows, removed, strips),
        "switches": _switches(switched, strips),
        "layer": page["layer"],
        "form": page["form"],
        "baseline": page["baseline"],
    }


def _is_main(row: Row, page: Row) -> bool:
    return all(row[key] == page[key] for key in ("layer", "form", "baseline"))


def _columns(page: Row, rows: Sequence[Row], removed: Sequence[Row], strips: Mapping[int, str]) -> list[dict[str, Any]]:
    """Return a column for every class; the true one beside the predicted one only where they differ."""
    columns = []
    drawn: set[int] = set()
    for name in dict.fromkeys(row["class"] for row in rows):
        positive_rows = [
            row for row in rows if row["class"] == name and row["difference"] is not None and row["difference"] > 0
        ]
        number = next(row["class_index"] for row in rows if row["class"] == name)
        if number in drawn:
            continue
        drawn.add(number)
        # Where no unit matters, no bar is long.
        largest = max([NOTHING if page["form"] == "probability" else 0, *(row["difference"] for row in positive_rows)])
        class_name = next(row["class_name"] for row in rows if row["class"] == name)
        columns.append(
            {
                "heading": column_heading(page, name, class_name),
                "wrong": name == "predicted" and page["label"] is not None and page["label"] != page["predicted"],
                "class_name": class_name,
                "units": [_unit(row, _difference(row), row["difference"] / largest, strips) for row in positive_rows],
                "removed": [_removed(row) for row in removed if row["class"] == name],
            }
        )
    return columns


def _width(share: float) -> str:
    return f"{100 * share:.1f}"


def _difference(row: Row) -> str:
    if row["form"] == "probability":
        if row["difference"] < NOTHING:
            return "< 0.1 points"
        return (
            f"−{100 * row['difference']:.2g} points"
            if row["difference"] < 0.1
            else f"−{100 * row['difference']:.0f} points"
        )
    return f"−{row['difference']:.2f}" + (" bits" if row["form"] == "log_odds" else "")


def _unit(row: Row, value: str, share: float | None, strips: Mapping[int, str]) -> dict[str, Any]:
    named = () if too_few(row) else ("lc", "cs1")
    measures = [f"{name.upper()} {row[name]:.2f}" for name in named if row[name] is not None]
    return {
        "number": row["unit"],
        "value": value,
        "width": None if share is None else _width(share),
        "meaning": units_with_meaning(row),
        "measures": " · ".join(measures),
        "strip": strips.get(row["unit"]),
    }


def _removed(row: Row) -> dict[str, str]:
    count = row["count"]
    if row["which"] == "control":
        without = f"{count} other units, about as active" if count > 1 else "another unit, about as active"
    else:
        without = "the strongest" if count == 1 else f"the {count} strongest"
    predicted = f"{row['predicted_name']} ({percent(row['predicted_probability'])})"
    return {"without": without, "predicted": predicted, "probability": percent(row["probability"])}


def _switches(rows: Sequence[Row], strips: Mapping[int, str]) -> list[dict[str, Any]]:
    columns = []
    for switch, heading in (("on", "Raised most"), ("off", "Lowered most")):
        switch_rows = [row for row in rows if row["switch"] == switch]
        units = [_unit(row, f"{row['real']:.2f} → {row['attacked']:.2f}", None, strips) for row in switch_rows]
        if units:
            columns.append({"heading": heading, "units": units})
    return columns


def _jpeg(pixels: NDArray[Any], quality: int) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "jpeg", quality=quality, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
