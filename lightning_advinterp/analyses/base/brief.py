"""What a result says first, for the terminal: a few columns of the rows that matter most."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from lightning_advinterp.analyses.semantics.figures import images_told
from lightning_advinterp.core.result import Row
from lightning_advinterp.report.table import radius

Tables = Mapping[str, Sequence[Row]]
Brief = Callable[[Tables, str], Table]
"""Makes the table to print from all tables of a result, under a title."""


def brief_table(rows: Sequence[Row], columns: Sequence[str], title: str = "") -> Table:
    """Print some columns of some rows, numbers to three digits; a missing value is a dash.

    Args:
        rows: of one table.
        columns: their keys, in order.
        title: above the table.
    """
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        words = any(isinstance(row.get(column), str) for row in rows)
        # Blanks let long names stand in two lines; a narrow terminal cuts nothing off.
        table.add_column(column.replace("_", " "), justify="left" if words else "right", overflow="fold")
    for row in rows:
        table.add_row(*(_text(column, row.get(column)) for column in columns))
    return table


def _text(column: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if column == "eps":
        return radius(value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def semantics_brief(tables: Tables, title: str) -> Table:
    """The last layer's means over units, for every kind of images."""
    rows = tables["semantics_layers"]
    last = [row for row in rows if row["layer"] == rows[-1]["layer"]] if rows else []
    columns = ("layer", "images", "eps", "lc", "cs1", "chance_cs1", "cs2", "chance_cs2", "cs_halves")
    head = f"{title}: meaning of the units of the last layer"
    if last:
        levels = f"LC: floor {last[0]['floor']:.2f}, chance {last[0]['chance_lc']:.2f}"
        head += f"\n{levels}; {images_told(last[0])}"
    return brief_table(last, columns, head)


def distances_brief(tables: Tables, title: str) -> Table:
    """The distance ratios of every attack."""
    columns = ("images", "eps", "ratio", "median", "share_above_one", "n", "images_per_class")
    return brief_table(tables["distances"], columns, f"{title}: distances in feature space")


def fragility_brief(tables: Tables, title: str) -> Table:
    """Every method under every attack at its largest radius, beside the maps of another image."""
    largest: dict[tuple[str, str], Row] = {}
    for row in tables["fragility_summary"]:
        key = row["method"], row["attack"]
        if key not in largest or (row["eps"] or 0) >= (largest[key]["eps"] or 0):
            largest[key] = row
    columns = ["method", "attack", "eps", "n", "success", "topk", "topk_other", "spearman", "spearman_other"]
    columns += ["no_map"] if any(row.get("no_map") for row in largest.values()) else []
    return brief_table(list(largest.values()), columns, f"{title}: maps before and after, medians")


def influence_brief(tables: Tables, title: str) -> Table:
    """How alike the influence of all training images is before and after every attack."""
    columns = ["attack", "eps", "n", "label_kept", "spearman", "spearman_kept", "spearman_other", "overlap"]
    columns += ["no_influence"] if any(row.get("no_influence") for row in tables["influence_summary"]) else []
    return brief_table(tables["influence_summary"], columns, f"{title}: influence before and after, medians")


def curvature_brief(tables: Tables, title: str) -> Table:
    """All measures, with 10 and 90 % quantiles, and how often softplus keeps the class."""
    columns = ["measure", "median", "low", "high", "share", "n"]
    columns += ["missing"] if any(row.get("missing") for row in tables["curvature_summary"]) else []
    return brief_table(tables["curvature_summary"], columns, f"{title}: curvature")
