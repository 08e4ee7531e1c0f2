"""Trains and tests what a plan still lacks; whatever is complete already is left alone."""

import shutil
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from lightning_advinterp.ablation import asked
from lightning_advinterp.ablation.masking import Masking
from lightning_advinterp.ablation.measures import Measures, evaluation_of
from lightning_advinterp.ablation.plan import Plan
from lightning_advinterp.attacks.config import AttackConfig
from lightning_advinterp.checkpoint_io import read_checkpoint
from lightning_advinterp.cli import TrainCLI, fit
from lightning_advinterp.errors import plain_errors
from lightning_advinterp.evaluation import Evaluation, run_evaluation
from lightning_advinterp.files import write_atomically
from lightning_advinterp.tensor_files import save_plainly, with_hashes

_COMPLETE = "complete"
"""Lies in a run's folder when it has all its epochs, and says what it was asked for."""

START = "start"
"""What the table calls the network before its first step."""


def trained(plan: Plan, arm: str, seed: int) -> bool:
    """Whether a run has all its epochs."""
    return (plan.run_folder(arm, seed) / _COMPLETE).is_file()


def tested(plan: Plan, arm: str, seed: int, checkpoint: str) -> bool:
    """Whether a checkpoint's evaluation is written; ``results.json`` is its last file but the page."""
    return (plan.test_folder(arm, seed, checkpoint) / "index.html").is_file()


def check_runs(plan: Plan) -> None:
    """Refuse complete runs that were trained otherwise than the plan says.

    Raises:
        ValueError: naming the run and what differs.
    """
    for seed in plan.seeds:
        for arm in plan.arms:
            if trained(plan, arm, seed):
                asked.require_same(plan.run_folder(arm, seed) / _COMPLETE, asked.training(plan, arm, seed))


def run(plan: Plan, console: Console) -> None:
    """Train and test every arm from every seed, seed by seed, so that whole comparisons come first."""
    for seed in plan.seeds:
        if plan.checkpoints:
            _test_start(plan, seed, console)
        for arm in plan.arms:
            if not trained(plan, arm, seed):
                console.rule(f"{arm}, seed {seed}")
                cli = fit(plan.command(arm, seed))
                if cli.trainer.interrupted:
                    raise KeyboardInterrupt
                asked.note(plan.run_folder(arm, seed) / _COMPLETE, asked.training(plan, arm, seed))
            for checkpoint in plan.checkpoints:
                _test(plan, arm, seed, checkpoint, console)
    if plan.masking is not None:
        _check(plan, plan.masking, console)
    if plan.measures is not None:
        _measure(plan, plan.measures, console)


def _measure(plan: Plan, measures: Measures, console: Console) -> None:
    """Run the evaluations that are not complete, seed by seed."""
    for seed in plan.seeds:
        for name, flags in measures.evaluations.items():
            for arm in measures.arms:
                checkpoint = plan.run_folder(arm, seed) / "last.ckpt"
                evaluation = evaluation_of(flags, checkpoint, plan.test_folder(arm, seed, name))
                _evaluate(evaluation, tested(plan, arm, seed, name), console)


def _check(plan: Plan, masking: Masking, console: Console) -> None:
    """Run the checks for masked gradients, and AutoAttack."""
    for seed in _both(masking.seeds, plan):
        for arm in plan.arms:
            source = None if arm == masking.source else str(plan.run_folder(masking.source, seed) / "last.ckpt")
            checks = replace(plan, limit=masking.limit, attack=masking.attacks(source))
            _test(checks, arm, seed, "masking", console)
    automatic = (AttackConfig("autoattack", masking.eps),)
    checks = replace(plan, limit=masking.autoattack_limit, attack=automatic)
    for seed in _both(masking.autoattack_seeds, plan):
        for arm in masking.autoattack:
            _test(checks, arm, seed, "autoattack", console)


def _both(seeds: list[int], plan: Plan) -> list[int]:
    """Those of the plan's seeds too: a process may have taken a part of them."""
    return [seed for seed in seeds if seed in plan.seeds]


def _test(plan: Plan, arm: str, seed: int, name: str, console: Console) -> None:
    """Evaluate a checkpoint, the last one for all other names, unless that is done already."""
    folder, run_folder = plan.test_folder(arm, seed, name), plan.run_folder(arm, seed)
    done = tested(plan, arm, seed, name)
    checkpoint = run_folder / ("best.ckpt" if name == "best" else "last.ckpt")
    known = name == "best" and not done and tested(plan, arm, seed, "last")
    if known and _same_weights(checkpoint, run_folder / "last.ckpt"):
        # The best epoch was the last one: its evaluation is known.
        shutil.copytree(plan.test_folder(arm, seed, "last"), folder, dirs_exist_ok=True)
        return
    evaluation = Evaluation(
        checkpoint=str(checkpoint),
        data=plan.data,
        split=plan.split,
        limit=plan.limit,
        analyses="accuracy,predictions",
        attack=plan.attack,
        batch_size=plan.batch_size,
        output=str(folder),
    )
    _evaluate(evaluation, done, console)


def _evaluate(evaluation: Evaluation, done: bool, console: Console) -> None:
    """Run an evaluation that is not done yet; one that is must be of the same settings."""
    path = Path(evaluation.output) / "asked.json"
    if done:
        with plain_errors():
            asked.require_same(path, asked.testing(evaluation))
        return
    run_evaluation(evaluation, console, checking=plain_errors)
    asked.note(path, asked.testing(evaluation))


def _same_weights(one: Path, other: Path) -> bool:
    first, second = (read_checkpoint(path)["state_dict"] for path in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def _test_start(plan: Plan, seed: int, console: Console) -> None:
    """Test the network that all arms start from, on real images alone: its head may be new."""
    folder = plan.run_folder(START, seed)
    if tested(plan, START, seed, "last"):
        return
    cli = TrainCLI.parse([*plan.command(next(iter(plan.arms)), seed), "--trainer.logger", "false"])
    cli.model.classes = cli.model.class_names = list(cli.datamodule.classes)  # type: ignore[attr-defined]
    content = {"state_dict": cli.model.state_dict(), "epoch": -1}
    cli.model.on_save_checkpoint(content)
    write_atomically(folder / "last.ckpt", lambda file: save_plainly(with_hashes(content), file))
    _test(replace(plan, attack=()), START, seed, "last", console)
