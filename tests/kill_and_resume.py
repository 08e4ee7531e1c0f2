"""Kills training runs with SIGKILL, starts the same command again, and compares what comes out, byte by byte.

    python tests/kill_and_resume.py [--fresh] [--only before_replace,validation] [--folder DIR]
    python tests/kill_and_resume.py --commands evaluate,set,export,ablation [--kills 40] [--seed 0]

Each kill is a run of its own: it is killed at a named moment, started again by the same command, and its weights are
compared by SHA-256 with those of a run that nobody killed: ``last.ckpt`` (the average and the trained weights, the
optimiser's state, the schedule, the state of all callbacks and loops) and ``best.ckpt``. The moments:

* ``before_replace``, ``after_replace``: within the writing of a checkpoint, by a pause before and after the finished
  file is moved to its place (every kind of checkpoint: mid.ckpt, best.ckpt, last.ckpt);
* ``half_written``: within the writing, when half of the file's bytes are on disk;
* ``validation``: in a validation step or in an analysis of the validation images;
* ``training``: in a training step;
* ``anywhere``: some time after its start, wherever that is.

The temporary folder (TMPDIR) lies on another file system than the runs, where the machine has one. A run is a process
of its own, forked from one that has imported everything; ``--fresh`` starts a new Python for each, 10 s more per start.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from digests import outcome
from forked import run_and_leave
from short_configs import SMALL_CONSISTENCY, short_config

CONFIG = short_config("run", seed=3, max_epochs=3, train_size=40, test_size=12, batch_size=8)
CONFIG += SMALL_CONSISTENCY
CONFIG += """
  schedule: {name: cosine}
accuracy: {attacks: [{type: fgsm, eps: 4/255}], limit: 12}
guard: {images: 8, attack: {type: pgd, eps: 4/255, steps: 1}}
dissection:
  {limit: 6, every_n_epochs: 2, units: 0, attacks: [{type: targeted_optimization, weight: 0.1, steps: 1}],
   settings: {layers: relu2, quantile: 0.9}}
semantics: {limit: 12, every_n_epochs: 2, panels: null, settings: {layers: relu2, share: 0.2}}
pictures: null
ema: {decay: 0.5}
checkpoint: {monitor: val/fgsm_acc, every_n_steps: 2}
"""
LIMIT = 300
"""Seconds that a run may take."""


@dataclass(frozen=True)
class Kill:
    """When a run is killed.

    Attributes:
        moment: as above.
        number: the how-manieth of its kind; for ``anywhere`` a time in seconds.
    """

    moment: str
    number: float

    def __str__(self) -> str:
        return f"{self.moment} {self.number:g}"


# A run writes mid.ckpt after steps 2 and 4 and before the validation, then best.ckpt where it improves, then last.ckpt.
# A validation has three steps, then the accuracy under attack, and in the second epoch dissection and semantics (8, 9).
KILLS = [
    *(Kill("before_replace", number) for number in (0, 2, 3, 4, 6, 8)),
    *(Kill("half_written", number) for number in (1, 4, 5)),
    *(Kill("after_replace", number) for number in (0, 2, 3, 4, 7, 9)),
    *(Kill("validation", number) for number in (0, 1, 5, 7, 8, 9)),
    *(Kill("training", number) for number in (0, 1, 2, 4, 5, 6, 8, 9, 11, 13, 14)),
    *(Kill("anywhere", seconds) for seconds in (0.3, 0.9, 1.7)),
]


def child(config: str, output: str, kill: Kill | None, mark: str) -> None:
    """Train; where the moment has come, say so by a file and wait to be killed."""
    from lightning_advinterp.cli import train_command as cli

    if kill is not None and kill.moment != "anywhere":
        count = 0

        def reached(moment: str) -> None:
            nonlocal count
            if moment == kill.moment:
                if count == kill.number:
                    Path(mark).touch()
                    time.sleep(600)
                count += 1

        _install(reached)
    cli.train(["--config", config, "--output", output])


def _install(reached: Callable[[str], None]) -> None:
    """Let the program say where it is."""
    from lightning_advinterp.analyses.base.runner import Runner
    from lightning_advinterp.training import checkpoint_io
    from lightning_advinterp.training.module import RobustClassifier

    def before(kind: type, name: str, moment: str) -> None:
        method = getattr(kind, name)

        def noted(self, *args, **kwargs):
            if not getattr(self, "trainer", args[0] if args else None).sanity_checking:
                reached(moment)
            return method(self, *args, **kwargs)

        setattr(kind, name, noted)

    before(RobustClassifier, "training_step", "training")
    before(RobustClassifier, "validation_step", "validation")
    run = Runner.run

    def noted_run(self, analyses):
        reached("validation")
        return run(self, analyses)

    Runner.run = noted_run
    replace, save = Path.replace, checkpoint_io.save_plainly

    def noted_replace(self, target):
        checkpoint = Path(target).suffix == ".ckpt" and Path(target).name != "previous.ckpt"
        if checkpoint:
            reached("before_replace")
        replace(self, target)
        if checkpoint:
            reached("after_replace")

    def noted_save(content, file):
        start = file.tell()
        save(content, file)
        end = file.tell()
        file.flush()
        os.ftruncate(file.fileno(), (start + end) // 2)
        reached("half_written")
        file.seek(start)
        save(content, file)

    Path.replace, checkpoint_io.save_plainly = noted_replace, noted_save


@contextmanager
def _running(fresh: bool, config: Path, output: Path, kill: Kill | None, mark: Path, log: Path) -> Iterator[int]:
    """Start the command; give its process's number."""
    sys.stdout.flush()
    if fresh:
        moment = "" if kill is None else f"{kill.moment}:{kill.number}"
        command = [sys.executable, __file__, "--child", str(config), str(output), moment, str(mark)]
        with log.open("ab") as file:
            yield subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True).pid
        return
    number = os.fork()
    if number == 0:
        run_and_leave(lambda: child(str(config), str(output), kill, str(mark)), log)
    yield number


def run_once(fresh: bool, config: Path, output: Path, kill: Kill | None = None) -> int:
    """Run the command to its end, or kill it at the moment; return its status, -9 for a killed one."""
    output.mkdir(parents=True, exist_ok=True)
    mark, log, started = output / "mark", output / "log.txt", time.monotonic()
    with _running(fresh, config, output, kill, mark, log) as number:
        due = started + kill.number if kill is not None and kill.moment == "anywhere" else None
        while True:
            ended, status = os.waitpid(number, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            if mark.exists() or (due is not None and time.monotonic() > due):
                os.kill(number, signal.SIGKILL)
                mark.unlink(missing_ok=True)
                due = None
            if time.monotonic() - started > LIMIT:
                os.kill(number, signal.SIGKILL)
                os.waitpid(number, 0)
                raise TimeoutError(f"a run took more than {LIMIT} s, see {log}")
            time.sleep(0.005)


def temporary_folder(runs: Path) -> Path:
    """A folder for TMPDIR, on another file system than the runs where the machine has one."""
    for place in ("/dev/shm", "/run", str(Path.home()), "/var/tmp"):
        if os.access(place, os.W_OK) and Path(place).stat().st_dev != runs.stat().st_dev:
            return Path(tempfile.mkdtemp(dir=place, prefix="advinterp-"))
    print("(no other file system for the temporary folder)")
    return Path(tempfile.mkdtemp(dir=runs))


def check(fresh: bool, folder: Path, kills: list[Kill]) -> list[str]:
    """Run everything; return what went wrong."""
    config = folder / "config.yaml"
    config.write_text(CONFIG)
    temporary = temporary_folder(folder)
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    wrong: list[str] = []
    try:
        status = run_once(fresh, config, folder / "whole")
        if status != 0:
            return [f"the uninterrupted run ended with {status}, see {folder / 'whole' / 'log.txt'}"]
        expected = outcome(folder / "whole" / "run")
        print(f"uninterrupted: {expected['last: trained weights']}")
        for kill in kills:
            started = time.monotonic()
            output = folder / str(kill).replace(" ", "_")
            killed = run_once(fresh, config, output, kill)
            checkpoints = sorted(path.name for path in (output / "run").glob("*.ckpt"))
            ended = run_once(fresh, config, output) if killed == -signal.SIGKILL else killed
            problems = []
            if killed != -signal.SIGKILL and not (kill.moment == "anywhere" and killed == 0):
                problems.append(f"was not killed, but ended with {killed}")
            if ended != 0:
                problems.append(f"the second start ended with {ended}")
            else:
                digests = outcome(output / "run")
                problems += [f"{key} differ" for key in expected if digests[key] != expected[key]]
            problems += [f"left behind: {path}" for path in (output / "run").glob(".*.unfinished")]
            problems += [f"left in TMPDIR: {path}" for path in temporary.iterdir() if path.name.endswith(".ckpt")]
            verdict = f"WRONG: {'; '.join(problems)}, see {output / 'log.txt'}" if problems else "equal"
            shown = digests["last: trained weights"][:16] if ended == 0 else ""
            took = f"{time.monotonic() - started:4.1f} s"
            print(
                f"{kill!s:18} on disk: {', '.join(checkpoints) or 'nothing':42} {took}  {shown} {verdict}", flush=True
            )
            if problems:
                wrong.append(f"{kill}: {'; '.join(problems)}")
            else:
                shutil.rmtree(output)
    finally:
        shutil.rmtree(temporary)
    return wrong


def main() -> int:
    """Parse the command line, kill, and report."""
    if "--child" in sys.argv:
        config, output, moment, mark = sys.argv[sys.argv.index("--child") + 1 :]
        name, _, number = moment.partition(":")
        child(config, output, Kill(name, float(number)) if moment else None, mark)
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fresh", action="store_true", help="a new Python for every start")
    parser.add_argument("--only", default="", help="moments, or single kills such as 'training 4', separated by commas")
    parser.add_argument("--folder", type=Path, default=None, help="for the runs; a temporary one by default")
    parser.add_argument("--commands", default="", help="evaluate, two, set, export, ablation, separated by commas")
    parser.add_argument("--weights", type=Path, help="of ResNet-18, for the command two on real images")
    parser.add_argument("--data", type=Path, help="likewise a folder of images")
    parser.add_argument("--concepts", type=Path, help="likewise a set in Broden's format")
    parser.add_argument("--kills", type=int, default=40, help="so many kills of these commands, at random moments")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    options = parser.parse_args()
    kills = [kill for kill in KILLS if not options.only or {kill.moment, str(kill)} & set(options.only.split(","))]
    place = options.folder or Path.cwd()
    place.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=place, prefix="kills-"))
    torch.set_num_threads(1)
    if not options.fresh:
        import lightning_advinterp.cli  # noqa: F401  (so that forks have it)
    started = time.monotonic()
    if options.commands:
        from killed_commands import RealInput
        from killed_commands import check as check_commands

        inputs = (options.weights, options.data, options.concepts)
        real = RealInput(*(path.absolute() for path in inputs)) if all(inputs) else None
        count = options.kills
        wrong = check_commands(folder, options.commands.split(","), count, options.seed, real)
        print(f"{count - len(wrong)} of {count} kills ended in equal files, {time.monotonic() - started:.0f} s")
    else:
        wrong = check(options.fresh, folder, kills)
        equal = f"{len(kills) - len(wrong)} of {len(kills)}"
        print(f"{equal} kills resumed to equal weights, {time.monotonic() - started:.0f} s")
    if not wrong:
        shutil.rmtree(folder)
    return 1 if wrong else 0


if __name__ == "__main__":
    tests = Path(__file__).parent.absolute()
    sys.path[:0] = [str(tests), str(tests / "data"), str(tests.parent)]
    sys.exit(main())
