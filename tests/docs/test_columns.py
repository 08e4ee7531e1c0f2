"""The reference of columns in docs/columns.md says what the questions declare.

``python tests/docs/test_columns.py`` writes it anew.
"""

from pathlib import Path

from lightning_advinterp.analyses.base.columns import BESIDE
from lightning_advinterp.analyses.registry import QUESTIONS

PAGE = Path(__file__).parents[2] / "docs" / "columns.md"
BEGIN, END = "<!-- columns: begin -->\n", "<!-- columns: end -->\n"


def listed(columns):
    """Return a Markdown table of columns."""
    lines = ["| column | meaning | unit |", "| --- | --- | --- |"]
    for column in columns:
        meaning = f"{column.meaning} ({column.when})" if column.when else column.meaning
        lines.append(f"| `{column.name}` | {meaning} | {column.unit} |".replace("  ", " "))
    return [*lines, ""]


def reference():
    """Return what stands between the marks of the page."""
    lines = ["Columns that a run adds to every table whose rows depend on an attack:", "", *listed(BESIDE)]
    for question in QUESTIONS.values():
        for table in question.tables:
            when = f" ({table.when})" if table.when else ""
            lines += [f"### {table.name}.csv", "", f"A row for {table.row}{when}.", "", *listed(table.columns)]
    return "\n".join(lines)


def parts():
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    stands, after = rest.split(END)
    return before, stands, after


def test_the_page_says_what_is_declared():
    assert parts()[1] == reference(), "run python tests/docs/test_columns.py"


if __name__ == "__main__":
    before, _, after = parts()
    PAGE.write_text(before + BEGIN + reference() + END + after, encoding="utf-8")
