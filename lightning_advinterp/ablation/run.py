"""Trains and tests what a plan still lacks; whatever is complete already is left alone."""

import re
import shutil
from dataclasses import replace
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path

import torch
from rich.console import Console

from lightning_advinterp.ablation import recorded_settings
from lightning_advinterp.ablation.masking import Masking
from lightning_advinterp.ablation.measures import Measures, evaluation_of
from lightning_advinterp.ablation.plan import Plan
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.cli import TrainCLI, fit
from lightning_advinterp.cli.evaluation import Evaluation, run_evaluation
from lightning_advinterp.core.errors import plain_errors
from lightning_advinterp.core.files import remove_unfinished, write_atomically
from lightning_advinterp.core.locks import held
from lightning_advinterp.core.tensor_files import save_plainly, with_hashes
from lightning_advinterp.report.store import RECORD, clear, differing, read_record, recover, staged
from lightning_advinterp.training.checkpoint_io import read_checkpoint

_COMPLETE = "complete"
"""Lies in a run's folder when it has all its epochs, and says what it was asked for."""

_BEGUN = "asked.json"
"""Lies in a run's folder from its start, and says the same; earlier versions wrote one for every test."""

_ASKED = "asked"
"""The entry of a test's record that says what it was asked for."""

START = "start"
"""What the table calls the network before its first step."""


def trained(plan: Plan, arm: str, seed: int) -> bool:
    """Whether a run has all its epochs."""
    return (plan.run_folder(arm, seed) / _COMPLETE).is_file()


def tested(plan: Plan, arm: str, seed: int, checkpoint: str) -> bool:
    """Whether a checkpoint's evaluation is complete: one record says so, and its files are those that it lists."""
    folder = plan.test_folder(arm, seed, checkpoint)
    record = read_record(folder)
    if not record:
        return False
    if "files" in record:
        return isinstance(record.get(_ASKED), dict) and not differing(folder, record)
    return (folder / "index.html").is_file() and (folder / _BEGUN).is_file()  # of an earlier version


def check_runs(plan: Plan) -> None:
    """Refuse runs that were trained, or are half trained, otherwise than the plan says.

    Raises:
        ValueError: naming the run and what differs.
    """
    for arm, seed in plan.runs:
        _require_same_run(plan, arm, seed)


def _require_same_run(plan: Plan, arm: str, seed: int) -> None:
    folder = plan.run_folder(arm, seed)
    if trained(plan, arm, seed):
        recorded_settings.require_same(folder / _COMPLETE, recorded_settings.training(plan, arm, seed))
    elif any(folder.glob("*.ckpt")):  # it would go on from there
        recorded_settings.require_same(folder / _BEGUN, recorded_settings.training(plan, arm, seed))


def run(plan: Plan, console: Console) -> None:
    """Train and test every arm from every seed, or the one run that is asked for."""
    for arm, seed in plan.runs:
        if plan.checkpoints and plan.arm is None and arm == next(iter(plan.arms)):
            with held(plan.run_folder(START, seed)):
                _test_start(plan, seed, console)
        with held(plan.run_folder(arm, seed)):  # from the first step to the last test
            _train(plan, arm, seed, console)
            for checkpoint in plan.checkpoints:
                _test(plan, arm, seed, checkpoint, console)
    if plan.masking is not None and plan.arm is None:  # these attack an arm by another's network
        _check(plan, plan.masking, console)
    if plan.measures is not None:
        _measure(plan, plan.measures, console)


def help_to_train(plan: Plan) -> None:
    """Train beside the first process of the run asked for, which holds the folder, notes what is done and tests."""
    for arm, seed in plan.runs:
        if not trained(plan, arm, seed):
            fit(plan.command(arm, seed))


def _train(plan: Plan, arm: str, seed: int, console: Console) -> None:
    """Train what is not complete; what it was asked for is noted before the first step, and again after the last."""
    with plain_errors():
        _require_same_run(plan, arm, seed)
    if trained(plan, arm, seed):
        return
    console.rule(f"{arm}, seed {seed}")
    folder, settings = plan.run_folder(arm, seed), recorded_settings.training(plan, arm, seed)
    recorded_settings.note(folder / _BEGUN, settings)
    cli = fit(plan.command(arm, seed))
    if cli.trainer.interrupted:
        raise KeyboardInterrupt
    recorded_settings.note(folder / _COMPLETE, settings)


def _measure(plan: Plan, measures: Measures, console: Console) -> None:
    """Run the evaluations that are not complete, seed by seed."""
    for name, flags in measures.evaluations.items():
        for arm, seed in plan.runs:
            if arm in measures.arms:
                checkpoint = plan.run_folder(arm, seed) / "last.ckpt"
                evaluation = evaluation_of(flags, checkpoint, plan.test_folder(arm, seed, name), seed)
                if plan.arm is not None and _names_other_arms(plan, arm, seed, evaluation):
                    console.print(f"{name}: it uses networks of other arms, and is left to the command for all arms")
                    continue
                with held(plan.run_folder(arm, seed)):
                    _evaluate(plan, arm, seed, name, evaluation, console)


def _names_other_arms(plan: Plan, arm: str, seed: int, evaluation: Evaluation) -> bool:
    """Whether an evaluation reads another arm's run, which a scheduler may not have started yet.

    A run is named by its path or by a pattern (``runs/softplus_*-0/last.ckpt``), which matches whatever is there now.
    """
    settings = str(evaluation)
    patterns = [word for word in re.findall(r"[^\s,'\"(){}=]+", settings) if has_magic(word)]
    folders = [plan.run_folder(name, seed) for name in plan.arms if name != arm]
    return any(
        f"{folder}/" in settings or any(_lies_under(folder, pattern) for pattern in patterns) for folder in folders
    )


def _lies_under(folder: Path, pattern: str) -> bool:
    """Whether a pattern of files may match some in this folder."""
    names, globs = folder.parts, Path(pattern).parts
    return len(globs) > len(names) and all(map(fnmatchcase, names, globs))


def _check(plan: Plan, masking: Masking, console: Console) -> None:
    """Run the checks for masked gradients, and AutoAttack."""
    for seed in _both(masking.seeds, plan):
        for arm in plan.arms:
            source = None if arm == masking.source else str(plan.run_folder(masking.source, seed) / "last.ckpt")
            checks = replace(plan, limit=masking.limit, attack=masking.attacks(source))
            with held(plan.run_folder(arm, seed)):
                _test(checks, arm, seed, "masking", console)
    automatic = (AttackConfig("autoattack", masking.eps),)
    checks = replace(plan, limit=masking.autoattack_limit, attack=automatic)
    for seed in _both(masking.autoattack_seeds, plan):
        for arm in masking.autoattack:
            with held(plan.run_folder(arm, seed)):
                _test(checks, arm, seed, "autoattack", console)


def _both(seeds: list[int], plan: Plan) -> list[int]:
    """Those of the plan's seeds too: a process may have taken a part of them."""
    return [seed for seed in seeds if seed in plan.seeds]


def _test(plan: Plan, arm: str, seed: int, name: str, console: Console) -> None:
    """Evaluate a checkpoint, the last one for all other names, unless that is done already."""
    folder, run_folder = plan.test_folder(arm, seed, name), plan.run_folder(arm, seed)
    checkpoint = run_folder / ("best.ckpt" if name == "best" else "last.ckpt")
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
    same_weights = name == "best" and not tested(plan, arm, seed, name) and tested(plan, arm, seed, "last")
    if same_weights and _same_weights(checkpoint, run_folder / "last.ckpt"):
        # The best epoch was the last one: its evaluation is known.
        _copy_test(plan.test_folder(arm, seed, "last"), folder)
    _evaluate(plan, arm, seed, name, evaluation, console)


def _copy_test(source: Path, folder: Path) -> None:
    """Copy an evaluation, whole or not at all; one of an earlier version has no list to copy by."""
    record = read_record(source) or {}
    if "files" not in record:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        recover(folder)
        with staged(folder) as stage:
            for name in [*record["files"], RECORD]:
                (stage / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, stage / name)


def _evaluate(plan: Plan, arm: str, seed: int, name: str, evaluation: Evaluation, console: Console) -> None:
    """Run an evaluation that is not done yet; one that is must be of the same settings."""
    folder, source = plan.test_folder(arm, seed, name), next(iter(plan.arms)) if arm == START else arm
    settings = recorded_settings.testing(evaluation, recorded_settings.training(plan, source, seed))
    if not tested(plan, arm, seed, name):
        run_evaluation(evaluation, console, checking=plain_errors, record={_ASKED: settings})
        return
    if any(folder.glob(".*")):
        with held(folder):
            clear(folder)
    with plain_errors():
        noted = (read_record(folder) or {}).get(_ASKED)
        if noted is None:
            recorded_settings.require_same(folder / _BEGUN, settings)
        else:
            recorded_settings.compare(folder, noted, settings)


def _same_weights(checkpoint: Path, other_checkpoint: Path) -> bool:
    first, second = (read_checkpoint(path)["state_dict"] for path in (checkpoint, other_checkpoint))
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def _test_start(plan: Plan, seed: int, console: Console) -> None:
    """Test the network that all arms start from, on real images alone: its head may be new."""
    folder = plan.run_folder(START, seed)
    if tested(plan, START, seed, "last"):
        _test(replace(plan, attack=()), START, seed, "last", console)
        return
    cli = TrainCLI.parse([*plan.command(next(iter(plan.arms)), seed), "--trainer.logger", "false"])
    cli.model.classes = cli.model.class_names = list(cli.datamodule.classes)  # type: ignore[attr-defined]
    content = {"state_dict": cli.model.state_dict(), "epoch": -1}
    cli.model.on_save_checkpoint(content)
    remove_unfinished(folder)
    write_atomically(folder / "last.ckpt", lambda file: save_plainly(with_hashes(content), file))
    _test(replace(plan, attack=()), START, seed, "last", console)
