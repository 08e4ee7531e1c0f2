"""The ablation's command line."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lightning_advinterp.ablation import recorded_settings
from lightning_advinterp.ablation.masking import masking_markdown
from lightning_advinterp.ablation.matched import matched_markdown
from lightning_advinterp.ablation.measures import measures_markdown
from lightning_advinterp.ablation.plan import Plan
from lightning_advinterp.ablation.run import START, check_runs, help_to_train, run, tested, trained
from lightning_advinterp.ablation.table import (
    autoattack_rows,
    checks_of,
    complete_seeds,
    frontier,
    hits,
    markdown,
    matched_of,
    measures_of,
    rows_of,
)
from lightning_advinterp.ablation.trial import print_hours
from lightning_advinterp.ablation.validation import validation_markdown, validation_rows
from lightning_advinterp.cli.parser import parsed_settings, settings_parser
from lightning_advinterp.cli.processes import one_speaks
from lightning_advinterp.cli.suggestions import SuggestingParser
from lightning_advinterp.core.errors import plain_errors, stops_explained, termination_explained
from lightning_advinterp.core.files import remove_unfinished, write_text
from lightning_advinterp.core.locks import held
from lightning_advinterp.core.memory import keep_freed_memory
from lightning_advinterp.core.names import shell
from lightning_advinterp.core.result import REAL
from lightning_advinterp.core.terminal import terminal
from lightning_advinterp.core.trust import trusting
from lightning_advinterp.report.save import draw_files, to_csv
from lightning_advinterp.report.vector import FORMATS


def parser() -> SuggestingParser:
    """Return the parser: every field of :class:`Plan` is a flag."""
    return settings_parser(
        Plan,
        "Train and test every arm of an ablation from every seed, and write one table. Stopped at any "
        "moment and started again, it goes on; several may share the work by taking different --seeds, or each one "
        "run by --arm and --seed.",
    )


def main(args: Sequence[str] | None = None) -> None:
    """Do what the plan still lacks, then write ``ablation.csv``, ``ablation.md`` and the frontier.

    Args:
        args: the command line, ``sys.argv`` if left out.
    """
    keep_freed_memory()
    with stops_explained() as command, termination_explained():
        with plain_errors(), one_speaks(command):
            plan, listed = _read(args)
            plan.check()
            check_runs(plan)
            vouched = tuple(recorded_settings.networks(plan))
        console = terminal(quiet=not command.first)
        if listed:
            for arm, seed in plan.runs:
                console.print(shell("--arm", arm, "--seed", str(seed)), soft_wrap=True, highlight=False)
            return
        if plan.dry_run:
            _print_state(plan, console)
            if plan.trial_seconds:
                with plain_errors(), trusting(*vouched, files=plan.trust):
                    print_hours(plan, console)
            return
        command.folder = Path(plan.output)
        with trusting(*vouched, files=plan.trust):
            if not command.first:
                if plan.arm is None:  # a status that is not 0 ends the first process, which waits for this one
                    raise SystemExit("error: arm: several processes train one run together; give --arm and --seed.")
                with plain_errors():
                    help_to_train(plan)
                return
            run(plan, console)
            if plan.arm is not None:
                console.print(f"written to     {plan.output}/{plan.arm}-{plan.seed}/ (without --arm all are collected)")
                return
            with held(plan.output, wait=60):  # processes of other seeds write the table too
                for folder in (Path(plan.output), Path(plan.output) / "figures"):
                    remove_unfinished(folder)
                write_table(plan, console)


def _read(args: Sequence[str] | None) -> tuple[Plan, bool]:
    """Return the plan of a command line, and whether its runs are to be listed alone."""
    flags = parser()
    flags.add_argument("--list", type=bool, default=False, help="Print a line of flags for every run, and stop.")
    settings = parsed_settings(Plan, flags, args)
    listed: bool = settings.pop("list")
    return Plan(**settings), listed


def write_table(plan: Plan, console: Console) -> None:
    """Write and print the tables of what is complete."""
    folder, parts = Path(plan.output), []
    chosen = validation_rows(plan)
    parts.append(validation_markdown(chosen))
    rows = rows_of(plan)
    automatic = autoattack_rows(plan)
    matched = matched_of(plan)
    checks = checks_of(plan)
    measured = measures_of(plan)
    tables = {"ablation": rows, "matched": matched, "autoattack": automatic, "masking": checks}
    tables |= {"measures": measured, "validation": chosen}
    for name, table in tables.items():
        if table:
            write_text(folder / f"{name}.csv", to_csv(table))
    if rows:
        parts.insert(0, markdown(rows) + _starts(plan))
        parts.insert(1, matched_markdown(matched, plan.the_reference))
    parts += [markdown(automatic), masking_markdown(checks)]
    parts += [measures_markdown(measured, plan.measures.show)] if plan.measures is not None else []
    text = "\n".join(part for part in parts if part)
    write_text(folder / "ablation.md", text)
    for kind in dict.fromkeys(row["images"] for row in rows if row["images"] != REAL):
        figure = frontier(rows, kind, f"{rows[0]['seeds']} seeds, {plan.checkpoints[0]} epoch")
        draw_files(folder / "figures", f"frontier_{kind}", figure, FORMATS)
    console.print(text, soft_wrap=True)
    console.print(f"written to     {folder}/ (ablation.md, tables as CSV, figures/, one folder per run)")


def _starts(plan: Plan) -> str:
    starts = [hits(plan.test_folder(START, seed, plan.checkpoints[0]))[REAL].mean() for seed in complete_seeds(plan)]
    return "\nbefore the first step: " + ", ".join(f"{100 * share:.1f}" for share in starts) + " % on real images\n"


def _print_state(plan: Plan, console: Console) -> None:
    for arm, seed in plan.runs:
        done = [name for name in plan.checkpoints if tested(plan, arm, seed, name)]
        state = "trained" if trained(plan, arm, seed) else "to be trained"
        console.print(f"{arm}, seed {seed}: {state}; tested: {', '.join(done) or 'nothing'}", highlight=False)
        console.print(f"  {shell('python', 'train.py', *plan.command(arm, seed))}", soft_wrap=True, highlight=False)
