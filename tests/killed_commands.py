"""Kills evaluations, sets, exports and ablations at random moments, starts them again, and compares every byte.

``python tests/kill_and_resume.py --commands evaluate,set,export,ablation --kills 40 --seed 0`` runs it. The command
``two`` is an evaluation on two processes, of which the first, the second or both are killed; ``--weights``, ``--data``
and ``--concepts`` have it evaluate ResNet-18 on real images at 96 px. A kill is
SIGKILL or SIGTERM, after a random time or at a random rename of a file, some twice. What the same command then leaves
is compared with what one leaves that nobody killed: all files but TensorBoard's, checkpoints by the digest of their
content; and nothing hidden may be left behind.
"""

import hashlib
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from digests import digest
from equal_on_processes import Case, family, link_concepts, link_images
from forked import run_and_leave

MEMBERS: tuple[Literal["first", "second", "both"], ...] = ("first", "second", "both")
LIMIT = 900
"""Seconds that a command may take, on a busy machine."""

_BASE = """
trainer:
  {max_epochs: 2, accelerator: cpu, log_every_n_steps: 1, enable_progress_bar: false, enable_model_summary: false}
data: {class_path: ConceptWorldDataModule, init_args: {train_size: 24, val_size: 12, image_size: 16, batch_size: 12}}
model: {network: cifar_resnet20, optimizer: {name: sgd, lr: 0.05}, schedule: {name: constant}}
guard: null
pictures: null
accuracy: {attacks: [{type: fgsm, eps: 8/255}], limit: 12}
"""
_PLAN = """
base: [base.yaml]
arms: {standard: standard.yaml, madry: madry.yaml}
seeds: [0]
limit: 8
attack: [{type: fgsm, eps: 8/255}]
measures: {arms: [standard, madry], evaluations: {curves: --analyses curvature --curvature.limit 2 --limit 4}}
"""


@dataclass(frozen=True)
class Kill:
    """When a command is killed.

    Attributes:
        number: the signal.
        seconds: after so much time; None for a rename.
        rename: at this one; None for a time.
        member: of a command on two processes the first, the second, or both.
    """

    number: signal.Signals
    seconds: float | None = None
    rename: int | None = None
    member: Literal["first", "second", "both"] = "first"

    def __str__(self) -> str:
        moment = f"at rename {self.rename}" if self.seconds is None else f"after {self.seconds:.2f} s"
        return f"{self.number.name} {moment}" + ("" if self.member == "first" else f" to {self.member}")

    def send(self, pid: int) -> None:
        """Send the signal.

        Args:
            pid: of the command's first process.
        """
        members = family(pid)
        for member in {"first": members[:1], "second": members[1:2] or members[:1], "both": members}[self.member]:
            with suppress(ProcessLookupError):  # it may just have ended
                os.kill(member, self.number)


@dataclass(frozen=True)
class RealInput:
    """Real images for the evaluation on two processes.

    Attributes:
        weights: of ResNet-18.
        data: folder of images.
        concepts: a set in Broden's format.
    """

    weights: Path
    data: Path
    concepts: Path

    def flags(self, folder: Path) -> list[str]:
        """Link a few images into a folder, and return the flags that name them."""
        link_images(self.data, folder / "real-images", Case("", "", classes=3, images=3, concepts=5))
        link_concepts(self.concepts, folder / "real-concepts", 5)
        named = {"--data": folder / "real-images", "--concepts": folder / "real-concepts", "--weights": self.weights}
        flags = ["--network", "resnet18", "--resize", "96", "--crop", "96", "--batch_size", "1"]
        return flags + [str(part) for pair in named.items() for part in pair]


def prepare(folder: Path, real: RealInput | None = None) -> dict[str, Callable[[str], None]]:
    """Write the inputs into a folder and go there; return the commands, which take their output."""
    from unit_evaluations import write_inputs

    from lightning_advinterp.ablation import command as ablation
    from lightning_advinterp.cli import adversarial, export
    from lightning_advinterp.cli.evaluation.command import evaluate

    os.chdir(write_inputs(folder))
    (folder / "base.yaml").write_text(_BASE)
    (folder / "plan.yaml").write_text(_PLAN)
    for name, objective in (
        ("standard", "Standard"),
        ("madry", "{class_path: Madry, init_args: {attack: {steps: 1}}}"),
    ):
        (folder / f"{name}.yaml").write_text(f"model: {{objective: {objective}}}\n")
    _save_every_batch()
    common = ["--checkpoint", "last.ckpt", "--data", "data", "--batch_size", "2"]
    analyses = ["--analyses", "accuracy,predictions,semantics,distances,curvature,dissection", "--concepts", "broden"]
    attack = ["--attack", "{type: fgsm, eps: 16/255}", "--targets", "2", "--part", "4"]
    quick = ["--config", "fast.yaml", *analyses, "--num_workers", "0"]
    shared = ["--config", "fast.yaml", "--analyses", "accuracy,predictions,distances,dissection", "--num_workers", "0"]
    shared += ["--devices", "2", "--accelerator", "cpu"]
    shared += [*common, "--concepts", "broden"] if real is None else real.flags(folder)
    return {
        "evaluate": lambda out: evaluate([*quick, *common, "--output", out]),
        "two": lambda out: _evaluate_on_two([*shared, "--output", out]),
        "set": lambda out: adversarial.main([*common, *attack, "--output", out]),
        "export": lambda out: export.main(["last.ckpt", "--output", out]),
        "ablation": lambda out: ablation.main(["--config", "plan.yaml", "--output", out]),
    }


def _save_every_batch() -> None:
    from lightning_advinterp.analyses.base.journal import Journal

    save = Journal.save
    Journal.save = lambda *arguments, now=False: save(*arguments, now=True)


def _evaluate_on_two(flags: list[str]) -> None:
    """Evaluate; this process starts the second one by its own command line, which is made that of this file."""
    from lightning_advinterp.cli.evaluation.command import evaluate

    sys.argv = [str(Path(__file__).absolute()), *flags]
    evaluate(flags)


def start(command: Callable[[str], None], output: Path, kill: Kill | None) -> tuple[int, int, float]:
    """Run a command in a process of its own; return its status, how many files it renamed, and how long it took."""
    mark, log, begun = output.with_suffix(".mark"), output.with_suffix(".log"), time.monotonic()
    mark.write_bytes(b"")
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        run_and_leave(lambda: _child(command, output, kill, mark), log)
    sent = kill is None
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), len(mark.read_bytes()), time.monotonic() - begun
        spent, renamed = time.monotonic() - begun, mark.stat().st_size
        due = kill is not None and (spent > kill.seconds if kill.seconds is not None else renamed > kill.rename)
        if due and not sent:
            kill.send(pid)
            sent = True
        if spent > LIMIT:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise TimeoutError(f"a command took more than {LIMIT} s, see {log}")
        time.sleep(0.003)


def _child(command: Callable[[str], None], output: Path, kill: Kill | None, mark: Path) -> None:
    replace, count = Path.replace, 0

    def noted(self: Path, target: Path) -> Path:
        nonlocal count
        with mark.open("ab") as file:
            file.write(b".")
        if kill is not None and kill.rename == count:
            time.sleep(3)  # the signal comes within; a training that SIGTERM asks to stop goes on to save
        count += 1
        return replace(self, target)

    Path.replace = noted
    command(output.name)


def outcome(folder: Path) -> dict[str, str]:
    """Return the digests of all files that a command leaves."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("events.out"):
            content = path.read_bytes()
            checkpoint = path.suffix == ".ckpt"
            name = path.relative_to(folder).as_posix()
            digests[name] = digest(_lasting(torch.load(path, weights_only=True))) if checkpoint else _hash(content)
    return digests


def _lasting(checkpoint: dict) -> dict:
    """A checkpoint without the scores and paths of others, of which Lightning keeps what it saw last."""
    return {key: checkpoint[key] for key in ("state_dict", "optimizer_states", "lr_schedulers") if key in checkpoint}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def plan_kills(
    names: list[str], count: int, seed: int, uninterrupted: dict[str, tuple[int, float]]
) -> list[tuple[str, list[Kill]]]:
    """Draw kills, evenly over the commands; a fifth of them come twice before the command may end."""
    draws = random.Random(seed)
    planned = []
    for number in range(count):
        name = names[number % len(names)]
        renames, seconds = uninterrupted[name]
        kills = []
        for _ in range(2 if draws.random() < 0.2 else 1):
            kind = draws.choice([signal.SIGKILL, signal.SIGTERM])
            by_time = Kill(kind, seconds=draws.uniform(0, seconds))
            kill = by_time if draws.random() < 0.4 else Kill(kind, rename=draws.randrange(renames))
            kills.append(replace(kill, member=draws.choice(MEMBERS)) if name == "two" else kill)
        planned.append((name, kills))
    return planned


def check(folder: Path, names: list[str], count: int, seed: int, real: RealInput | None = None) -> list[str]:
    """Run everything; return what went wrong."""
    commands = prepare(folder, real)
    expected, uninterrupted, wrong = {}, {}, []
    for name in names:
        status, renames, seconds = start(commands[name], folder / name, None)
        if status != 0:
            return [f"the uninterrupted {name} ended with {status}, see {folder / name}.log"]
        expected[name], uninterrupted[name] = outcome(folder / name), (renames, seconds)
        (folder / name).rename(folder / f"{name}-whole")
        print(f"{name}, uninterrupted: {len(expected[name])} files, {renames} renames, {seconds:.1f} s", flush=True)
    for name, kills in plan_kills(names, count, seed, uninterrupted):
        statuses = [start(commands[name], folder / name, kill)[0] for kill in kills]
        status, _, seconds = start(commands[name], folder / name, None)
        digests = outcome(folder / name) if status == 0 else {}
        problems = [] if status == 0 else [f"the last start ended with {status}"]
        problems += [
            f"{kill} ended with {ended}"
            for kill, ended in zip(kills, statuses, strict=True)
            if ended not in (0, -signal.SIGKILL, 128 + signal.SIGTERM, -signal.SIGTERM)
            and not (ended == 1 and kill.member == "second")  # the first process is told that the other is gone
        ]
        if digests:
            differ = [key for key in expected[name].keys() & digests.keys() if expected[name][key] != digests[key]]
            problems += [f"differs: {key}" for key in differ]
            problems += [f"only one of both: {key}" for key in sorted(expected[name].keys() ^ digests.keys())]
        verdict = f"WRONG: {'; '.join(problems[:5])}, see {folder / name}.log" if problems else "equal"
        print(f"{name:9} {', then '.join(map(str, kills)):44} {statuses} {seconds:5.1f} s  {verdict}", flush=True)
        if problems:
            wrong.append(f"{name}: {problems}")
            (folder / name).rename(folder / f"{name}-wrong-{len(wrong)}")
        else:
            shutil.rmtree(folder / name)
            (folder / f"{name}.log").unlink()
    return wrong


if __name__ == "__main__":  # the second process of an evaluation
    from lightning_advinterp.cli.evaluation.command import evaluate

    _save_every_batch()
    evaluate(sys.argv[1:])
