"""The page itself, from evaluations that are on disk."""

import itertools
import json
import math
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

import jinja2

from lightning_advinterp.core.names import printable
from lightning_advinterp.report.page.explorer import as_script, explorer_data
from lightning_advinterp.report.page.limits import limits
from lightning_advinterp.report.page.paired import Difference, differences
from lightning_advinterp.report.page.sections import sections
from lightning_advinterp.report.page.sentences import findings
from lightning_advinterp.report.page.stored import StoredEvaluation, told_apart

_VENDORED = ("uPlot.iife.min.js", "tabulator.min.js")
_STYLES = ("uPlot.min.css", "tabulator.min.css")


def render(evaluations: Sequence[StoredEvaluation]) -> str:
    """Return one HTML file that shows evaluations, and asks nothing of the network.

    Args:
        evaluations: at least one, the first is what others are compared with.
    """
    titled = told_apart(list(evaluations))
    explorer = explorer_data(titled)
    pairs = [
        (first.title, second.title, [_shown(row) for row in differences(first, second)])
        for first, second in itertools.combinations(titled, 2)
    ]
    networks = [
        {
            "title": evaluation.title,
            "found": findings(evaluation),
            "limits": limits(evaluation),
            "sections": sections(evaluation),
            "provenance": json.dumps(evaluation.record.get("provenance"), indent=2, ensure_ascii=False),
            "prefix": evaluation.prefix,
        }
        for evaluation in titled
    ]
    # Names of classes and files come from users' folders: everything is escaped.
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, finalize=_plain)
    return environment.from_string(_text("page.html")).render(
        networks=networks,
        pairs=pairs,
        explorer=None if explorer is None else as_script(explorer),
        style=_text("page.css"),
        script=_text("page.js"),
        vendored=[_text(f"vendor/{name}") for name in _VENDORED],
        vendored_styles=[_text(f"vendor/{name}") for name in _STYLES],
    )


def _plain(value: Any) -> Any:
    """Write what nobody sees, and what turns the text around it, as escapes."""
    return printable(value) if type(value) is str else value


def _shown(row: Difference) -> dict[str, str]:
    no_interval = math.isnan(row.low)
    interval = "–" if no_interval else f"[{row.low:+.3g}, {row.high:+.3g}]"
    told_apart = "–" if no_interval else "yes" if row.low > 0 or row.high < 0 else "no"
    return {
        "measure": row.measure,
        "first": f"{row.first:.3g}",
        "second": f"{row.second:.3g}",
        "difference": f"{row.difference:+.3g}",
        "interval": interval,
        "pairs": f"{row.pairs} {row.over}" if row.pairs else "none: no predictions",
        "table": row.table,
        "told": told_apart,
    }


@cache
def _text(name: str) -> str:
    place = resources.files("lightning_advinterp.report.page").joinpath(name)
    return place.read_text(encoding="utf-8")
