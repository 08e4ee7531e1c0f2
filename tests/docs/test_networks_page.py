"""docs/networks.md says of every analysis and family what happens.

``python tests/docs/test_networks_page.py`` prints the table anew.
"""

import re
from pathlib import Path

import pytest
from network_families import FAMILIES, outcomes

from lightning_advinterp.analyses.registry import QUESTIONS

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"


def table(rows, families):
    """Return a Markdown table: a row for every analysis, a column for every family."""
    lines = [f"| analysis | {' | '.join(families)} |", f"| --- |{' --- |' * len(families)}"]
    for analysis, cells in rows.items():
        lines.append(f"| `{analysis}` | {' | '.join(cells[family] for family in families)} |")
    return lines


def stored():
    """Return the page's table as analysis to family to outcome."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    families = [cell.strip() for cell in lines[0].strip("|").split("|")][1:]
    rows = {}
    for line in lines:
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"`[a-z]+`", name) and len(cells) == len(families):
            rows[name.strip("`")] = dict(zip(families, cells, strict=True))
    return families, rows


def test_the_page_has_every_analysis():
    families, rows = stored()
    assert list(rows) == list(QUESTIONS)
    assert families == list(FAMILIES)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_page_says_what_happens(family):
    _, rows = stored()
    cells = {analysis: {family: cells[family]} for analysis, cells in rows.items()}
    assert outcomes([family]) == cells


if __name__ == "__main__":
    print("\n".join(table(outcomes(), list(FAMILIES))))
