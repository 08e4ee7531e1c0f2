"""What an evaluation prints last: the first numbers of every table, with a paper's beside the measured ones."""

from collections.abc import Mapping

from rich.console import Console

from lightning_advinterp.analyses.base.question import Question
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.core.result import Result, Row
from lightning_advinterp.report import accuracy_table, dissection_table
from lightning_advinterp.report.table import condition


def _same_kinds(accuracies: Mapping[str, list[Row]]) -> list[dict[str, list[Row]]]:
    """Return networks by the kinds of images that they were shown: only these stand side by side."""
    groups: dict[tuple[str, ...], dict[str, list[Row]]] = {}
    for name, rows in accuracies.items():
        groups.setdefault(tuple(f"{condition(row)}, {row['n']}" for row in rows), {})[name] = rows
    return list(groups.values())


def print_tables(
    evaluation: Evaluation, results_of_networks: Mapping[str, Mapping[str, Result]], console: Console
) -> None:
    """Print what the tables say first, with the papers' values beside the measured ones.

    Args:
        evaluation: whose rows may have printed values.
        results_of_networks: results by analysis, by network.
        console: where to print.
    """
    accuracies: dict[str, list[Row]] = {
        name: results["accuracy"].tables["accuracy"]
        for name, results in results_of_networks.items()
        if "accuracy" in results
    }
    for alike in _same_kinds(accuracies):
        console.print(accuracy_table(alike))
    printed = {row.name: row.printed for row in evaluation.rows}
    for name, results in results_of_networks.items():
        values, measured = printed.get(name, {}), set()
        for row in accuracies.get(name, []):
            printed_values = {key: value for key, value in values.get(row["images"], {}).items() if key in row}
            measured |= {(row["images"], key) for key in printed_values}
            text = ", ".join(
                f"{key} {100 * row[key]:.2f} (printed {100 * value:.2f})" for key, value in printed_values.items()
            )
            if text:
                console.print(f"{name}, {row['images']}: {text}")
        if "dissection" in results:
            rows = results["dissection"].tables["dissection_summary"]
            measured |= {(row["images"], row["category"]) for row in rows}
            console.print(dissection_table(rows, f"{name}: units that detect a concept, %", values))
        for analysis, result in results.items():
            question = evaluation.questions.get(analysis)
            brief = question.brief(result, name) if isinstance(question, Question) else None
            if brief is not None:
                console.print(brief)
            if isinstance(question, Question):
                beside = question.beside_printed(result, values)
                measured |= {(line["images"], line["measure"].partition(" as ")[0]) for line in beside}
        missing = [
            f"{key} ({kind})"
            for kind, values_of_kind in values.items()
            for key in values_of_kind
            if (kind, key) not in measured
        ]
        if missing:
            console.print(f"{name}: nothing measured beside the printed {', '.join(missing)}")
    _print_side_by_side(evaluation, results_of_networks, printed, console)


def _print_side_by_side(
    evaluation: Evaluation,
    results_of_networks: Mapping[str, Mapping[str, Result]],
    printed: Mapping[str, Mapping[str, Mapping[str, float]]],
    console: Console,
) -> None:
    """Print what questions say of several networks together."""
    for name, question in evaluation.questions.items():
        results = {network: by_name[name] for network, by_name in results_of_networks.items() if name in by_name}
        if len(results) > 1 and isinstance(question, Question):
            table = question.side_by_side(results, printed)
            if table is not None:
                console.print(table)
