"""Results on disk: CSV tables, figures, ``results.json`` and one page, each whole or absent."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import resources
from numbers import Number
from pathlib import Path
from typing import Any, BinaryIO

import jinja2
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from lightning_advinterp.analyses.analysis import Result, Row
from lightning_advinterp.files import write_atomically, write_json, write_text
from lightning_advinterp.names import cell, file_name, from_cell, printable
from lightning_advinterp.report.plain import plain_text

_LARGE = 1 << 20  # bytes
_DIGITS = {"threshold": 9}


def to_csv(rows: Sequence[Row]) -> str:
    """Rows as CSV with a header: booleans ``true``/``false``, what is missing as an empty field.

    Text is written as :func:`~lightning_advinterp.names.cell` has it. Numbers have six digits; thresholds have nine,
    from which a float32 is read back as it is: what equals a threshold does not exceed it, and would if some digits
    were cut off.
    """
    buffer = io.StringIO()
    columns = _columns(rows)
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(cell, columns))
    for row in rows:
        writer.writerow([_cell(row.get(key), _DIGITS.get(key, 6)) for key in columns])
    return buffer.getvalue()


def _columns(rows: Sequence[Row]) -> list[str]:
    """Return the columns that any row has: a real image's row lacks what an attack's has, and the other way round."""
    return list(dict.fromkeys(key for row in rows for key in row))


def _cell(value: Any, digits: int = 6) -> str:
    """Return a value as text: a number is one, whatever its sign, and all other text is no formula."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Number):  # NumPy's too
        return f"{value:.{digits}g}" if isinstance(value, float) else str(value)
    return cell(str(value))


def _json(value: Any) -> Any:
    """Strict JSON has no NaN; what is missing is null."""
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def name_images(results: Mapping[str, Result], dataset: Any) -> None:
    """Put paths relative to the data's folder for the images' numbers in all tables, where images have paths."""
    path_of = getattr(dataset, "path_of", None)
    if path_of is None:
        return
    for result in results.values():
        for rows in result.tables.values():
            for row in rows:
                if isinstance(row.get("image"), int):
                    row["image"] = path_of(row["image"])


def save_tables(folder: Path, results: Mapping[str, Result]) -> dict[str, list[Row]]:
    """Write ``<table>.csv`` for every table of every result, and return those that have rows."""
    every = {name: rows for result in results.values() for name, rows in result.tables.items()}
    for name in [name for name, rows in every.items() if not rows]:  # nothing to say: no attack, for instance
        (folder / f"{file_name(name)}.csv").unlink(missing_ok=True)
    tables = {name: rows for name, rows in every.items() if rows}
    for name, rows in tables.items():
        write_text(folder / f"{file_name(name)}.csv", to_csv(rows))
    return tables


def save_results(
    folder: Path, results: Mapping[str, Result], figures: Mapping[str, Figure], provenance: Mapping[str, Any]
) -> None:
    """Write everything that an evaluation found.

    Args:
        folder: ``<table>.csv``, ``figures/<name>.png``, ``images/<name>.png``, ``arrays/<name>.npz`` (as ``values``),
            ``results.json`` and ``index.html`` go here.
        results: by analysis.
        figures: by name.
        provenance: settings, seed, hashes and versions, common to all.
    """
    tables = save_tables(folder, results)
    for name, figure in figures.items():
        write_atomically(folder / "figures" / f"{file_name(name)}.png", partial(draw, figure))
    for name, array in (
        (file_name(name), array) for result in results.values() for name, array in result.arrays.items()
    ):
        if array.dtype == np.uint8:
            write_atomically(folder / "images" / f"{name}.png", partial(Image.fromarray(array).save, format="png"))
        else:
            write_atomically(folder / "arrays" / f"{name}.npz", partial(np.savez_compressed, values=array))
    scalars = {name: result.scalars for name, result in results.items()}
    summary = _json({"scalars": scalars, "provenance": provenance})
    write_json(folder / "results.json", summary, indent=2)
    write_text(folder / "index.html", _page(tables, list(map(file_name, figures)), summary["provenance"]))


def draw(figure: Figure, file: BinaryIO) -> None:
    """Write a figure as PNG, its texts as they are.

    A sheet of photographs, which PNG hardly compresses, has 256 colours of its own.
    """
    drawn = io.BytesIO()
    plain_text(figure)
    figure.savefig(drawn, dpi=150)
    if drawn.tell() > _LARGE:
        photographs = Image.open(drawn, formats=["PNG"]).convert("RGB")
        palette = photographs.quantize(256, kmeans=1)
        drawn = io.BytesIO()
        photographs.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(drawn, "png", optimize=True)
    file.write(drawn.getvalue())


def _page(tables: Mapping[str, Sequence[Row]], figures: Sequence[str], provenance: Mapping[str, Any]) -> str:
    source = resources.files("lightning_advinterp.report").joinpath("page.html").read_text(encoding="utf-8")
    # Names of classes and files come from users' folders: everything is escaped.
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source)
    shown = {}
    for name, rows in tables.items():
        columns = _columns(rows)
        cells = [[from_cell(_cell(row.get(key))) for key in columns] for row in rows[:200]]
        shown[file_name(name)] = [printable(column, keep="") for column in columns], cells, len(rows)
    return template.render(tables=shown, figures=figures, provenance=json.dumps(provenance, indent=2))
