"""What the terminal shows of promotion: shares under every form, and which conclusions hold under all of them."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from lightning_advinterp.analyses.promotion.tables import SETTINGS, SWEEP
from lightning_advinterp.core.result import Row
from lightning_advinterp.metrics.promotion import THRESHOLD, XI
from lightning_advinterp.report.brief import brief_table
from lightning_advinterp.report.table import percent

SHORT = {"raw": "raw", "centred": "centred", "log_probability": "log p"}
"""What figures and the terminal call the logits."""


def promotion_brief(tables: Mapping[str, Sequence[Row]], title: str) -> Table:
    """Return a row per attack and form, with the conclusions below.

    Args:
        tables: of the result.
        title: what the network is called.
    """
    rows, (xi, threshold) = form_rows(tables), settings_of(tables)
    columns = [key for key in (rows[0] if rows else {}) if not key.endswith("_by_l2")]
    table = brief_table(rows, columns, f"{title}: shares of cells by type, ξ = {xi:g}, threshold {threshold:g}")
    table.caption = "\n".join(spoken(tables))
    table.caption_justify = "left"
    return table


def settings_of(tables: Mapping[str, Sequence[Row]]) -> tuple[float, float]:
    """Return the ξ and the threshold that were set; the defaults where no attack has any image."""
    row = next(iter(tables["promotion_agreement"]), {"xi": XI, "threshold": THRESHOLD})
    return row["xi"], row["threshold"]


def form_rows(tables: Mapping[str, Sequence[Row]]) -> list[Row]:
    """Return a row per attack and form with the shares of all types, by count and by ‖δ‖, at the ξ that was set."""
    forms: dict[tuple[str, str, str], Row] = {}
    for row in tables["promotion_summary"]:
        if (row["xi"], row["threshold"]) == settings_of(tables):
            head = {"images": row["images"], "form": f"{row['effect']}, {SHORT[row['logits']]}"}
            form = forms.setdefault((row["images"], row["effect"], row["logits"]), head)
            form |= {row["type"]: row["share"], f"{row['type']}_by_l2": row["share_by_l2"]}
    return list(forms.values())


def spoken(tables: Mapping[str, Sequence[Row]]) -> list[str]:
    """Return, per attack, how far the forms agree and what holds under all of them, in words."""
    lines = []
    for row in tables["promotion_agreement"]:
        if row["effect"] != "all":
            continue
        kind = row["images"]
        lines.append(
            f"{kind}: {percent(row['agreement'])} % of the cells have one type under all nine forms "
            f"({percent(row['chance'])} % by chance)."
        )
        for scope, where in ((SETTINGS, "at this ξ and threshold"), (SWEEP, "and at every ξ and threshold")):
            claims = [
                claim for claim in tables["promotion_conclusions"] if (claim["images"], claim["scope"]) == (kind, scope)
            ]
            holding = [_sure(claim) for claim in claims if claim["holds"]]
            forms = claims[0]["forms"] if claims else 0
            what = ", ".join(holding) if holding else "no order of the three types holds"
            lines.append(f"  Under all forms {where}, by count and by ‖δ‖ ({forms}): {what}.")
    return lines


def _sure(claim: Row) -> str:
    return claim["claim"] if claim["surely"] == claim["forms"] else f"{claim['claim']} (not beyond chance in all)"
