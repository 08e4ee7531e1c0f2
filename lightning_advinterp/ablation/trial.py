"""What the trainings of a plan that are missing will take: a few batches of each arm."""

from collections import Counter

from rich.console import Console

from lightning_advinterp.ablation.plan import Plan
from lightning_advinterp.ablation.run import trained
from lightning_advinterp.analyses.base.trial import Estimate
from lightning_advinterp.cli import TrainCLI
from lightning_advinterp.cli.evaluation.trial import describe
from lightning_advinterp.cli.train_trial import estimate_training


def print_hours(plan: Plan, console: Console) -> Estimate:
    """Say, and return, what all missing trainings take one after the other; a run that is begun counts as whole.

    Args:
        plan: its ``trial_seconds`` say about how long each arm is tried.
        console: where to print.
    """
    missing = [(arm, seed) for arm, seed in plan.runs if not trained(plan, arm, seed)]
    seeds, counts, total = dict(reversed(missing)), Counter(arm for arm, _ in missing), Estimate()
    for arm, count in counts.items():
        words = [*plan.command(arm, seeds[arm]), "--trial_seconds", str(plan.trial_seconds)]
        cli = TrainCLI.parse(words)
        each = estimate_training(cli, TrainCLI.parse, words)
        line = f"{arm}: each of {count} trainings: {describe(each, cli.trainer.world_size)}"
        console.print(line, soft_wrap=True, highlight=False)
        seconds = count * (each.seconds / cli.trainer.world_size + each.alone)
        total += Estimate(seconds, memory=each.memory, files=count * each.files)
    if counts:
        line = f"one after the other, without the tests: {describe(total, 1)}"
        console.print(line, soft_wrap=True, highlight=False)
    return total
