"""The two networks of ``compare_with_standard``: the other one's command line, and what both are judged by."""

from typing import TYPE_CHECKING

from lightning_advinterp.core.result import Result
from lightning_advinterp.training.outcome import final_results

if TYPE_CHECKING:
    from lightning_advinterp.cli.train_command import TrainCLI


def as_standard(cli: "TrainCLI") -> list[str]:
    """The command line of the same run with the standard objective."""
    return [
        *("--config", str(cli.directory.config)),
        *("--name", f"{cli.config.name}-standard", "--resume", "auto"),
        *("--compare_with_standard", "false", "--model.objective", "Standard"),
        *("--model.objective.init_args.bn", cli.model.objective.bn),
        # A folder that the configuration names holds the first network's files.
        *(() if cli.config.export is None else ("--export.folder", "null")),
    ]


def judged(cli: "TrainCLI") -> dict[str, Result]:
    """Return the accuracy and the predictions of what a command trained; nothing without validation images."""
    return final_results(cli.trainer, cli.model, cli.accuracy)


def objective_name(cli: "TrainCLI") -> str:
    """Return what a command's network is called in the table."""
    return type(cli.model.objective).__name__.lower()
