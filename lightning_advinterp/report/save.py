"""Results on disk: CSV tables, figures, ``results.json`` and one page, each whole or absent."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from numbers import Number
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from lightning_advinterp.core.columns import NUMBERS, Column
from lightning_advinterp.core.files import write_atomically, write_text
from lightning_advinterp.core.names import cell, file_name
from lightning_advinterp.core.result import Result, Row, is_missing
from lightning_advinterp.report.load import listed
from lightning_advinterp.report.page.render import render
from lightning_advinterp.report.page.stored import StoredEvaluation, network_title
from lightning_advinterp.report.plain import plain_text
from lightning_advinterp.report.store import digests, staged, write_record
from lightning_advinterp.report.vector import draw_vector

_LARGE = 1 << 20  # bytes
_SAMPLED = 120_000  # pixels


def to_csv(rows: Sequence[Row], declared: Mapping[str, Column] = MappingProxyType({})) -> str:
    """Rows as CSV with a header: booleans ``true``/``false``, what is missing as an empty field.

    Text is written as :func:`~lightning_advinterp.core.names.cell` has it. Numbers have six digits, unless their
    column's declaration says otherwise.

    Args:
        rows: of one table.
        declared: header to its column.
    """
    buffer = io.StringIO()
    columns = _columns(rows)
    formats = {key: declared[key].format if key in declared else NUMBERS for key in columns}
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(cell, columns))
    for row in rows:
        writer.writerow([_cell(row.get(key), formats[key]) for key in columns])
    return buffer.getvalue()


def _columns(rows: Sequence[Row]) -> list[str]:
    """Return the columns that any row has: a real image's row lacks what an attack's has, and the other way round."""
    return list(dict.fromkeys(key for row in rows for key in row))


def _cell(value: Any, numbers: str = NUMBERS) -> str:
    """Return a value as text: a number is one, whatever its sign, and all other text is no formula."""
    if is_missing(value):
        return ""
    if type(value) is float:  # most values are; asking for an abstract class takes longer than writing one
        return format(value, numbers)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Number):  # NumPy's too
        return format(value, numbers) if isinstance(value, float) else str(value)
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


def name_images(results: Mapping[str, Result], path_of: Callable[[int], str | None]) -> None:
    """Put paths relative to the data's folder for the images' numbers in all tables, where images have paths."""
    for result in results.values():
        for rows in result.tables.values():
            for row in rows:
                number = row.get("image")
                if isinstance(number, int) and (path := path_of(number)) is not None:
                    row["image"] = path


def save_tables(folder: Path, results: Mapping[str, Result]) -> dict[str, list[Row]]:
    """Write ``<table>.csv`` for every table of every result, and return those that have rows."""
    every = {name: rows for result in results.values() for name, rows in result.tables.items()}
    declared = {name: columns for result in results.values() for name, columns in result.columns.items()}
    for name in [name for name, rows in every.items() if not rows]:  # nothing to say: no attack, for instance
        (folder / f"{file_name(name)}.csv").unlink(missing_ok=True)
    tables = {name: rows for name, rows in every.items() if rows}
    for name, rows in tables.items():
        write_text(folder / f"{file_name(name)}.csv", to_csv(rows, declared.get(name, {})))
    return tables


def save_results(
    folder: Path,
    results: Mapping[str, Result],
    figures: Mapping[str, Figure],
    provenance: Mapping[str, Any],
    *,
    pages: Mapping[str, str] = MappingProxyType({}),
    more: Mapping[str, Any] = MappingProxyType({}),
    keep: Mapping[str, Any] | None = None,
    formats: Sequence[str] = ("png",),
) -> None:
    """Write everything that an evaluation found; its files take the place of the earlier ones together.

    Args:
        folder: ``<table>.csv``, ``figures/<name>.png``, ``images/<name>.png``, ``arrays/<name>.npz`` (as ``values``),
            ``results.json`` and ``index.html`` go here.
        results: by analysis.
        figures: by name.
        provenance: settings, seed, hashes and versions, common to all.
        pages: HTML by the file's name, see :func:`page_files`.
        more: what else stands in ``results.json``.
        keep: the part of the folder's record whose files stay (``scalars``, ``results``, ``files``), found by the same
            evaluation before.
        formats: of the figures, ``png``, ``svg`` and ``pdf``.
    """
    kept_files: Mapping[str, str] = {} if keep is None else keep["files"]
    with staged(folder) as stage:
        save_tables(stage, results)
        for name, figure in figures.items():
            draw_files(stage / "figures", name, figure, formats)
        for name, array in (
            (file_name(name), array) for result in results.values() for name, array in result.arrays.items()
        ):
            if array.dtype == np.uint8:
                write_atomically(stage / "images" / f"{name}.png", partial(Image.fromarray(array).save, format="png"))
            else:
                write_atomically(stage / "arrays" / f"{name}.npz", partial(np.savez_compressed, values=array))
        for name, page in pages.items():
            write_text(stage / name, page)
        scalars = {name: result.scalars for name, result in results.items()}
        summary = _json({"scalars": {**({} if keep is None else keep["scalars"]), **scalars}, "provenance": provenance})
        stored = {
            **({} if keep is None else keep["results"]),
            **{name: listed(result) for name, result in results.items()},
        }
        record = summary | _json(more) | {"results": stored, "files": {**kept_files, **digests(stage)}}
        write_text(stage / "index.html", _page(stage, folder, record))
        record["files"] = {**kept_files, **digests(stage)}
        write_record(stage, record)


def _page(stage: Path, folder: Path, record: Mapping[str, Any]) -> str:
    """Return the page of new files, and of those that stay in the folder."""

    def locate(name: str) -> Path:
        return stage / name if (stage / name).is_file() else folder / name

    shown = {**record, "files": {name: digest for name, digest in record["files"].items() if name != "index.html"}}
    return render([StoredEvaluation(network_title(record, folder.absolute().name), shown, locate)])


def save_table(folder: Path, folders: Sequence[str], printed: Sequence[Row]) -> None:
    """Write what belongs to a table of several networks: its record, and measured values beside printed ones.

    Args:
        folder: of the table.
        folders: below it, of its networks.
        printed: the values; none before they are measured.
    """
    with staged(folder) as stage:
        if printed:
            write_text(stage / "printed.csv", to_csv(printed))
        write_record(stage, {"folders": list(folders), "files": digests(stage)})


def page_files(name: str, pages: Mapping[str, str]) -> dict[str, str]:
    """Return a question's pages by the names of their files, ``<question>/<page>.html``."""
    return {f"{file_name(name)}/{file_name(page)}.html": text for page, text in pages.items()}


def draw_files(folder: Path, name: str, figure: Figure, formats: Sequence[str]) -> None:
    """Write a figure in every format asked for, ``<name>.<format>``."""
    for kind in formats:
        drawing = partial(draw, figure) if kind == "png" else partial(draw_vector, figure, kind)
        write_atomically(folder / f"{file_name(name)}.{kind}", drawing)


def written(
    results: Mapping[str, Result],
    figures: Iterable[str],
    pages: Iterable[str] = (),
    formats: Sequence[str] = ("png",),
) -> Iterator[str]:
    """Yield the files that :func:`save_results` writes, beside the page of all and the record."""
    for result in results.values():
        yield from (f"{file_name(name)}.csv" for name, rows in result.tables.items() if rows)
        for name, array in result.arrays.items():
            yield f"images/{file_name(name)}.png" if array.dtype == np.uint8 else f"arrays/{file_name(name)}.npz"
    yield from (f"figures/{file_name(name)}.{kind}" for name in figures for kind in formats)
    yield from pages


def draw(figure: Figure, file: BinaryIO) -> None:
    """Write a figure as PNG, its texts as they are.

    A sheet of photographs, which PNG hardly compresses, has 256 colours of its own.
    """
    drawn = io.BytesIO()
    plain_text(figure)
    figure.savefig(drawn, dpi=150)
    if drawn.tell() > _LARGE:
        photographs = Image.open(drawn, formats=["PNG"]).convert("RGB")
        # Every n-th pixel tells the colours: finding them among all takes minutes where all pixels differ.
        step = max(1.0, (photographs.width * photographs.height / _SAMPLED) ** 0.5)
        size = (round(photographs.width / step), round(photographs.height / step))
        palette = photographs.resize(size, Image.Resampling.NEAREST).quantize(256, kmeans=1)
        drawn = io.BytesIO()
        photographs.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(drawn, "png", optimize=True)
    file.write(drawn.getvalue())
