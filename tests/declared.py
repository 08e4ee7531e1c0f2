"""Whether an evaluation's files have the columns that its questions declare."""

import csv

from lightning_advinterp.analyses.base.columns import BESIDE
from lightning_advinterp.analyses.base.question import declared_tables
from lightning_advinterp.analyses.registry import complete_settings


def undeclared(folder, *questions):
    """Return what differs: tables and columns that are not declared, and declared columns that are not there."""
    wrong = []
    settings = complete_settings({})
    tables = {table.name: table for name in questions for table in declared_tables(name, settings)}
    for path in sorted(folder.glob("*.csv")):
        if path.stem not in tables:
            wrong.append(f"table {path.stem}")
            continue
        with path.open(encoding="utf-8", newline="") as file:
            headers = next(csv.reader(file))
        columns, matched = (*tables[path.stem].columns, *BESIDE), set()
        for header in headers:
            column = next((column for column in columns if column.names(header)), None)
            matched.add(column)
            if column is None:
                wrong.append(f"{path.stem}: {header}")
        wrong += [
            f"{path.stem}: no {expected.name}"
            for expected in tables[path.stem].columns
            if expected not in matched and not expected.when
        ]
    return wrong
