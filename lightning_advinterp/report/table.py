"""Tables for the terminal and for Markdown, from the rows of a result."""

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from lightning_advinterp.core.result import REAL, Row, is_missing

SAME_IMAGES = "shares compare on one set of images alone"
"""On a few hundred images most units pass 0.04 for some label; on 60,000 far fewer do."""


def percent(share: float | None, low: float | None = None, high: float | None = None) -> str:
    """A share as a percentage with its interval: ``75.8 [73.1, 78.4]``.

    >>> percent(0.7581, 0.7306, 0.7836)
    '75.8 [73.1, 78.4]'
    """
    if share is None or is_missing(share):
        return "–"
    text = f"{100 * share:.1f}"
    return text if low is None or high is None else f"{text} [{100 * low:.1f}, {100 * high:.1f}]"


def condition(row: Row, joint: str = " ε=") -> str:
    """Return ``real``, or the attack with its radius, its norm where that is L2, and the range where it is drawn.

    Args:
        row: with ``images`` and ``eps``; ``norm`` and ``eps_low`` where a table has them.
        joint: between name and radius.
    """
    if row["eps"] is None:
        return str(row["images"])
    return f"{row['images']}{joint}{radius(row['eps'], row.get('norm'), row.get('eps_low'))}"


def radius(eps: float, norm: str | None = None, low: float | None = None) -> str:
    """A radius for people: in 255ths as long as it is a fraction of the pixel range, L2 distances as they are.

    Args:
        eps: the radius, the largest where it is drawn for every image.
        norm: ``linf`` or ``l2``; None where it is not known, then 1 and more is L2.
        low: the smallest that is drawn.

    >>> radius(8 / 255), radius(0.5, "l2"), radius(8 / 255, "linf", 2 / 255)
    ('8/255', '0.5 (L2)', '2/255 to 8/255, drawn')
    """
    # Five digits, since a radius that is read back from a table has six.
    text = f"{eps:.5g}" if norm == "l2" or eps >= 1 else f"{eps * 255:.5g}/255"
    if low is not None and low != eps:
        text = f"{radius(low, 'l2').removesuffix(' (L2)') if norm == 'l2' else radius(low)} to {text}, drawn"
    return f"{text} (L2)" if norm == "l2" else text


def accuracy_table(networks: Mapping[str, Sequence[Row]], title: str = "") -> Table:
    """Top-1 and top-5 accuracy of one or several networks, side by side.

    Args:
        networks: what each is called, to its rows of the table ``accuracy``, of the same kinds.
        title: above the table.
    """
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("images")
    table.add_column("n", justify="right")
    for name in networks:
        table.add_column(f"{name}\ntop-1 % [95 %]", justify="right", no_wrap=True)
        table.add_column("\ntop-5 %", justify="right")
    for rows in zip(*networks.values(), strict=True):
        cells = []
        for row in rows:
            cells += [percent(row["top1"], row["top1_low"], row["top1_high"]), percent(row["top5"])]
        table.add_row(condition(rows[0]), str(rows[0]["n"]), *cells)
    return table


def summary_of(rows: Sequence[Row]) -> list[Row]:
    """Return a dissection's rows of all layers together, of the only layer where there is one."""
    layers = dict.fromkeys(row["layer"] for row in rows)
    chosen = "all" if "all" in layers else next(iter(layers), None)
    return [row for row in rows if row["layer"] == chosen]


def dissection_table(
    rows: Sequence[Row], title: str = "", printed: Mapping[str, Mapping[str, float]] | None = None
) -> Table:
    """Share of units that detect a concept of each category, per kind of images, with the controls below.

    Args:
        rows: the table ``dissection_summary``.
        title: above the table.
        printed: kind of images to category to a paper's value, shown in a row below the measured ones.
    """
    summary = summary_of(rows)
    categories = list(dict.fromkeys(row["category"] for row in summary))
    table = Table(title=title, title_justify="left", caption=SAME_IMAGES, box=SIMPLE_HEAD, pad_edge=False)
    table.caption_justify = "left"
    table.add_column("images")
    for category in categories:
        table.add_column(category, justify="right")
    for kind in dict.fromkeys(row["images"] for row in summary):
        by_category = {row["category"]: row for row in summary if row["images"] == kind}
        table.add_row(kind, *(percent(by_category[category]["ratio"]) for category in categories))
        values = (printed or {}).get(kind, {})
        if values:
            shown = [percent(values[category]) if category in values else "" for category in categories]
            table.add_row(f"{kind}, printed", *shown, style="italic")
    real = {row["category"]: row for row in summary if row["images"] == REAL}
    for control in ("shuffled", "rotated", "random"):
        shares = [real[category].get(control) for category in categories]
        if None not in shares:
            table.add_row(f"control: {control}", *(percent(float(share)) for share in shares if share is not None))
    return table
