"""Trains and tests what a plan still lacks; whatever is complete already is left alone."""

import torch
from rich.console import Console

from lightning_advinterp.ablation.plan import Plan
from lightning_advinterp.cli import TrainCLI, fit
from lightning_advinterp.errors import plain_errors
from lightning_advinterp.evaluation import Evaluation, run_evaluation
from lightning_advinterp.files import write_atomically

START = "start"
"""What the table calls the network before its first step."""


def trained(plan: Plan, arm: str, seed: int) -> bool:
    """Whether a run has all its epochs."""
    return (plan.run_folder(arm, seed) / "complete").is_file()


def tested(plan: Plan, arm: str, seed: int, checkpoint: str) -> bool:
    """Whether a checkpoint's evaluation is written; ``results.json`` is its last file but the page."""
    return (plan.test_folder(arm, seed, checkpoint) / "index.html").is_file()


def run(plan: Plan, console: Console) -> None:
    """Train and test every arm from every seed, seed by seed, so that whole comparisons come first."""
    for seed in plan.seeds:
        _test_start(plan, seed, console)
        for arm in plan.arms:
            if not trained(plan, arm, seed):
                console.rule(f"{arm}, seed {seed}")
                cli = fit(plan.command(arm, seed))
                if cli.trainer.interrupted:
                    raise KeyboardInterrupt
                (plan.run_folder(arm, seed) / "complete").touch()
            for checkpoint in plan.checkpoints:
                if not tested(plan, arm, seed, checkpoint):
                    _test(plan, arm, seed, checkpoint, console)


def _test(plan: Plan, arm: str, seed: int, checkpoint: str, console: Console) -> None:
    run_evaluation(
        Evaluation(
            checkpoint=str(plan.run_folder(arm, seed) / f"{checkpoint}.ckpt"),
            data=plan.data,
            split=plan.split,
            limit=plan.limit,
            analyses="accuracy,predictions",
            attack=plan.attack,
            batch_size=plan.batch_size,
            output=str(plan.test_folder(arm, seed, checkpoint)),
        ),
        console,
        checking=plain_errors,
    )


def _test_start(plan: Plan, seed: int, console: Console) -> None:
    """Test the network that all arms start from, on real images alone: its head may be new."""
    folder = plan.run_folder(START, seed)
    if tested(plan, START, seed, "last"):
        return
    cli = TrainCLI.parse([*plan.command(next(iter(plan.arms)), seed), "--trainer.logger", "false"])
    cli.model.classes = cli.model.class_names = list(cli.datamodule.classes)  # type: ignore[attr-defined]
    content = {"state_dict": cli.model.state_dict(), "epoch": -1}
    cli.model.on_save_checkpoint(content)
    write_atomically(folder / "last.ckpt", lambda file: torch.save(content, file))
    bare = Plan(**{**vars(plan), "attack": ()})
    _test(bare, START, seed, "last", console)
