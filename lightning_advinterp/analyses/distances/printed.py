"""The candidates for r1 and r2 of several networks, beside the values that Dong et al. 2017 print."""

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from lightning_advinterp.core.result import Row, is_missing
from lightning_advinterp.metrics.distance_ratio import RATIOS

PRINTED: dict[str, dict[str, tuple[float, float, float]]] = {
    "r1": {"before": (1.07, 1.26, 1.34), "after": (0.98, 0.99, 0.98)},
    "r2": {"before": (0.80, 0.73, 0.76), "after": (0.90, 0.92, 0.87)},
}
"""Means over images of AlexNet, VGG-16 and ResNet-18, before and after consistency training (Figs. 5 and 9)."""

FITS = {"r_ctr": "r1", "r_own": "r2", "r_goal": "r2"}
"""Which printed ratio a candidate may be, by the side of 1 on which both lie; the others can be neither."""


def ratios_side_by_side(
    networks: Mapping[str, Sequence[Row]], printed: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> Table:
    """Return a line for each attack and candidate, with the mean of every network and its 95 % interval.

    Args:
        networks: what each is called, to its rows of the table ``distances``.
        printed: network to kind of images to ``r1`` and ``r2``, a paper's values of that very network.
    """
    caption = "printed, AlexNet, VGG-16, ResNet-18: " + "; ".join(
        f"{name} " + ", ".join(f"{when} {_values(values)}" for when, values in times.items())
        for name, times in PRINTED.items()
    )
    table = Table(title="distance ratios, means [95 %]", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.caption, table.caption_justify = f"{caption}. No candidate is known to be r1 or r2.", "left"
    for column in ("images", "ratio", "may be"):
        table.add_column(column)
    for name in networks:
        table.add_column(name, justify="right")
    kinds = dict.fromkeys(row["images"] for rows in networks.values() for row in rows)
    for kind in kinds:
        for ratio in RATIOS:
            cells = [_mean(rows, kind, ratio) for rows in networks.values()]
            table.add_row(kind, ratio, FITS.get(ratio, "–"), *cells)
        for key in PRINTED:
            values = [printed.get(name, {}).get(kind, {}).get(key) for name in networks]
            if any(value is not None for value in values):
                shown = ["–" if value is None else f"{value:.2f}" for value in values]
                table.add_row(kind, "printed", key, *shown, style="italic")
    return table


def candidates_beside_printed(rows: Sequence[Row], printed: Mapping[str, Mapping[str, float]]) -> list[Row]:
    """Return every candidate's mean beside a network's printed r1 and r2.

    Args:
        rows: the table ``distances``.
        printed: kind of images to ``r1`` and ``r2``.
    """
    beside: list[Row] = []
    for kind, values in printed.items():
        for key in (key for key in PRINTED if key in values):
            for row in (row for row in rows if row["images"] == kind):
                measure = f"{key} as {row['ratio']}"
                beside.append({"images": kind, "measure": measure, "measured": row["mean"], "printed": values[key]})
    return beside


def _values(values: Sequence[float]) -> str:
    return " ".join(f"{value:.2f}" for value in values)


def _mean(rows: Sequence[Row], kind: str, ratio: str) -> str:
    """Return the mean of a network's ratio with its interval; a dash where no image has it."""
    for row in rows:
        if (row["images"], row["ratio"]) == (kind, ratio) and not is_missing(row["mean"]):
            if is_missing(row.get("mean_low")):  # stored by an earlier version
                return f"{row['mean']:.2f}"
            return f"{row['mean']:.2f} [{row['mean_low']:.2f}, {row['mean_high']:.2f}]"
    return "–"
