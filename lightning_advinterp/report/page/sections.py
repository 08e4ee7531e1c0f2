"""The sections of the page: an analysis' figures, tables, how to read them, and the command that made them."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from lightning_advinterp.core.names import printable, shell
from lightning_advinterp.report.page.pictures import figure_uri
from lightning_advinterp.report.page.stored import StoredEvaluation

SHOWN = 200
"""So many rows of a table stand on the page."""

_READ = {
    "accuracy": "Bars are shares of images that the network gets right; whiskers are 95 % intervals, so that bars "
    "whose "
    "whiskers overlap widely are not told apart.",
    "predictions": "A row is an image: its class, and what the network answers on it and on its attacked versions.",
    "dissection": "A bar is the share of units whose best concept has an IoU of the threshold or more, by "
    "category; compare "
    "it with the controls, and real with attacked images.",
    "semantics": "LC says how much one class rules a unit's strongest images; CS1 near the ceiling of the halves "
    "means that "
    "the unit keeps its classes under attack, CS2 above chance that the wrong classes take over.",
    "panels": "Rows are units, pictures the images that drive them most, bright where the unit looks; a row under "
    "attack that "
    "shows other things than the real one has lost its meaning.",
    "distances": "Where r_src is above 1, an attacked image lies farther from its source than images of its class "
    "do; where r_tgt "
    "is below 1, it lies nearer to the target's class than to its own.",
    "fragility": "Curves are medians over images, by the attack's radius: the faster similarity falls, the more "
    "fragile the "
    "explanation; the reference is the similarity of two different images' maps.",
    "influence": "Low rank correlation and overlap mean that other training images explain the same prediction "
    "after the attack.",
    "promotion": "Bars are shares of a perturbation's cells that raise the target, lower the true class, or do both.",
    "sensitivity": "Points are units: how far the attack moves them in standard deviations, beside noise as large; "
    "only what "
    "exceeds the noise is the attack's.",
    "detection": "AUROC of one half is chance; read the row of the adaptive attack, which knows the score, before "
    "the others.",
    "tracing": "Strong units are those without which the prediction loses most; each traced image has a page.",
    "curvature": "Large eigenvalues mean that a small step turns the explanation; compare the directions with the "
    "random one.",
}

_COMMAND = (
    *(
        "network",
        "weights",
        "checkpoint",
        "num_classes",
        "data",
        "split",
        "concepts",
        "attack",
        "eps",
        "steps",
        "layers",
    ),
    *("transfer_from", "resize", "crop", "limit", "seed"),
)
"""Settings that the command names where they are set."""


class Table(NamedTuple):
    """A table of a section: its first rows."""

    name: str
    link: str
    columns: list[str]
    rows: list[list[str]]
    total: int


class Section(NamedTuple):
    """What one analysis of one network left."""

    name: str
    read: str
    command: str
    figures: list[tuple[str, str]]
    tables: list[Table]
    pages: list[tuple[str, str]]


def sections(evaluation: StoredEvaluation) -> list[Section]:
    """Return the sections of an evaluation; files that no analysis lists come last."""
    analyses: Mapping[str, Any] = evaluation.record.get("analyses") or {}
    listed: set[str] = set()
    parts = []
    for name, entry in analyses.items():
        files = [file for file in entry["files"] if file in evaluation.files]
        listed |= set(files)
        parts.append(_section(evaluation, name, files, command(evaluation, name)))
    unlisted = [file for file in evaluation.files if file not in listed]
    rest = _section(evaluation, "", unlisted, "")
    return [*parts, rest] if rest.figures or rest.tables or rest.pages else parts


def _section(evaluation: StoredEvaluation, name: str, files: list[str], line: str) -> Section:
    figures = [
        (file.removeprefix("figures/").removesuffix(".png"), figure_uri(evaluation.locate(file)))
        for file in files
        if file.startswith("figures/") and file.endswith(".png")
    ]
    tables = [_table(evaluation, file.removesuffix(".csv")) for file in files if file.endswith(".csv")]
    pages = [(file, evaluation.prefix + file) for file in files if file.endswith(".html") and "/" in file]
    return Section(name, _READ.get(name, ""), line, figures, tables, pages)


def _table(evaluation: StoredEvaluation, name: str) -> Table:
    rows = evaluation.rows(name)
    columns = list(rows[0]) if rows else []
    cells = [[row[column] for column in columns] for row in rows[:SHOWN]]
    headers = [printable(column, keep="") for column in columns]
    return Table(name, f"{evaluation.prefix}{name}.csv", headers, cells, len(rows))


def command(evaluation: StoredEvaluation, analysis: str) -> str:
    """Return the command that makes an analysis again, from the recorded settings; empty where none are recorded."""
    stated = evaluation.record.get("command")  # of a training, whose questions have settings of their own
    if isinstance(stated, str):
        return stated
    settings = evaluation.settings
    if not settings.get("network") and not settings.get("checkpoint"):
        return ""
    words = ["advinterp", "evaluate", "--analyses", analysis]
    for key in _COMMAND:
        value = settings.get(key)
        if value is None or value == "" or value == []:
            continue
        words += [f"--{key}", _word(value)]
    return shell(*words)


def _word(value: Any) -> str:
    """Return a setting as a flag's value; YAML reads JSON."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value)
