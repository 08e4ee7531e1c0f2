"""Documented commands, run in the order of a page in a folder that holds what they take."""

import contextlib
import io
import os
import runpy
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from documented.inputs import Inputs
from documented.pages import ROOT, files_of, named_command
from documented.small import SmallCommand, commands_before, small_commands

from lightning_advinterp.cli.door import main

STARTS_EMPTY = ("README.md", "tutorial.md", "distributed.md")
"""Pages that train what they evaluate."""
OWN_PROCESS = ("torchrun", "--devices 2", "--devices 3", "--trainer.devices 2")


class Outcome(NamedTuple):
    """How a command ended.

    Attributes:
        command: that was run.
        seconds: that it took.
        error: the last lines of what it printed, if it failed; else empty.
    """

    command: SmallCommand
    seconds: float
    error: str


class Page:
    """The folder in which a page's commands are run.

    Args:
        page: file of the page.
        inputs: what the commands take.
        folder: new.
    """

    def __init__(self, page: Path, inputs: Inputs, folder: Path) -> None:
        self.page, self.inputs, self.folder = page, inputs, folder
        folder.mkdir(parents=True)
        for name in ("configs", "examples", "tests", "benchmarks", "train.py", "evaluate.py"):
            (folder / name).symlink_to(ROOT / name)
        for path in inputs.folder.iterdir():
            if path.name == "runs":
                if page.name not in STARTS_EMPTY:
                    shutil.copytree(path, folder / "runs")
            else:
                (folder / path.name).symlink_to(path)
        for name in ("small_evaluation.yaml", "small_ablation.yaml", "small_rows.yaml"):
            if (path := Path(__file__).with_name(name)).exists():
                shutil.copy(path, folder / name)
        for name, text in files_of(page).items():
            (folder / name).write_text(text)

    def run(self, command: SmallCommand) -> Outcome:
        """Run a command in this process, or in processes of its own where it starts several."""
        begin = time.perf_counter()
        try:
            words = self._with_weights(list(command.words))
        except Exception as error:  # of a network that nobody knows; the other commands are run all the same
            return Outcome(command, time.perf_counter() - begin, f"{type(error).__name__}: {error}")
        text = shlex.join(words)
        alone = any(mark in text for mark in OWN_PROCESS)
        error = self._processes(words) if alone else self._here(words)
        return Outcome(command, time.perf_counter() - begin, error)

    def _with_weights(self, words: list[str]) -> list[str]:
        if "FILE" not in words:
            return words
        name = words[words.index("--network") + 1] if "--network" in words else "resnet18"
        options = {}
        if "--network_options.blocks" in words:
            options = {"blocks": int(words[words.index("--network_options.blocks") + 1])}
        few = {"cifar_resnet20": 10, "robustbench": 10}
        classes = few.get(name.partition(":")[0], 1000)
        sys.path.insert(0, str(self.inputs.folder))
        try:
            path = self.inputs.weights_of(name, classes, **options)
        finally:
            sys.path.remove(str(self.inputs.folder))
        return [str(path) if word == "FILE" else word for word in words]

    def _here(self, words: list[str]) -> str:
        printed, before = io.StringIO(), (os.getcwd(), list(sys.path), list(sys.argv))
        os.chdir(self.folder)
        sys.path.insert(0, str(self.folder))
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                named = named_command(words)
                if named is not None:
                    main([named[0], *named[1]])
                elif words[0] == "advinterp":
                    main(words[1:])
                else:
                    sys.argv = words[1:]
                    runpy.run_path(words[1], run_name="__main__")
        except SystemExit as stop:
            if stop.code not in (None, 0):
                return f"{printed.getvalue()[-1500:]}\nstatus {stop.code}"
        except Exception as error:
            return f"{printed.getvalue()[-1500:]}\n{type(error).__name__}: {error}"
        finally:
            os.chdir(before[0])
            sys.path[:], sys.argv = before[1], before[2]
        return ""

    def _processes(self, words: list[str]) -> str:
        program = {"python": [sys.executable], "torchrun": [sys.executable, "-m", "torch.distributed.run"]}
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
        ended = subprocess.run(
            [*program[words[0]], *words[1:]],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        return "" if ended.returncode == 0 else f"{ended.stdout[-1500:]}\nstatus {ended.returncode}"


def run_page(page, inputs, folder, ran, report):
    """Run the commands of one page that have not run yet.

    Args:
        page: file of the page.
        inputs: what they take.
        folder: new folder.
        ran: words of the commands that were run, which are added to.
        report: called with each outcome.
    """
    place = Page(page, inputs, folder)
    for command in [*commands_before(page), *small_commands(page)]:
        if command.reason or command.words in ran:
            continue
        ran.add(command.words)
        report(place.run(command))
