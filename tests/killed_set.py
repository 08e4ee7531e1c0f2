"""Writes a set of adversarial images by three processes, kills one of them, goes on, and has two processes read it.

``python tests/killed_set.py --weights FILE --data FOLDER`` runs it with ResNet-18 at 64 px and two targets of each
image (of 1,000 images: a set of 2,000). One process writes the same set without a kill; all files must be equal to the
byte, and an evaluation of the set on two processes must equal one of the other set on one process.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from equal_on_processes import REPOSITORY, compare, evaluate, family

ATTACK = "{type: fgsm, eps: 4/255}"
STORED = """
[{{type: stored, name: first, path: {0}, target_rank: 1}}, {{type: stored, name: second, path: {0}, target_rank: 2}}]
"""


def start(flags: list[str], output: Path, processes: int) -> subprocess.Popen[str]:
    """Start the command that writes a set."""
    command = [sys.executable, "-m", "lightning_advinterp.adversarial", *flags, "--output", str(output)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen([*command, "--devices", str(processes)], env=environment, text=True, **pipes)


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files of a set."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def finished(process: subprocess.Popen[str], what: str) -> str:
    """Wait for a command, and return what it printed.

    Raises:
        RuntimeError: if it fails.
    """
    printed, _ = process.communicate(timeout=1800)
    if process.returncode != 0:
        raise RuntimeError(f"{what} ended with {process.returncode}: {printed[-3000:]}")
    return printed


def write_with_a_kill(flags: list[str], output: Path, kill_at: int, draws: random.Random) -> str:
    """Write a set by three processes; kill one when so many parts are there, then repeat the command.

    Returns:
        What was killed, and what was there then.

    Raises:
        RuntimeError: if the killed command ends well, or the repeated one does not.
    """
    process = start(flags, output, 3)
    while process.poll() is None and len(list(output.glob("part-*.json"))) < kill_at:
        time.sleep(0.01)
    number = draws.randrange(3)
    os.kill(family(process.pid)[number], signal.SIGKILL)
    process.communicate(timeout=300)
    parts = len(list(output.glob("part-*.json")))
    if process.returncode == 0:
        raise RuntimeError("the killed command ended well; kill it earlier")
    finished(start(flags, output, 3), "the repeated command")
    return f"process {number} of three was killed, {parts} parts were there"


def main() -> int:
    """Parse the command line, write both sets, read them, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", type=Path, required=True, help="a folder of images, DIR/<class>")
    parser.add_argument("--limit", type=int, default=1000, help="so many images")
    parser.add_argument("--part", type=int, default=64, help="adversarial images per file")
    parser.add_argument("--seed", type=int, default=0, help="of the moment and the process")
    parser.add_argument(
        "--folder", type=Path, default=None, help="for sets and evaluations; a temporary one by default"
    )
    options = parser.parse_args()
    draws = random.Random(options.seed)
    named = ["--network", "resnet18", "--weights", options.weights, "--data", str(options.data), "--crop", "64"]
    named += ["--limit", str(options.limit), "--device", "cpu"]
    writing = [*named, "--attack", ATTACK, "--targets", "2", "--part", str(options.part)]
    reading = [*named, "--analyses", "accuracy,predictions,semantics", "--num_workers", "0", "--batch_size", "1"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        printed = finished(start(writing, folder / "alone", 1), "one process")
        print(printed.strip().splitlines()[-1], flush=True)
        expected = files_of(folder / "alone")
        parts = len([name for name in expected if name.startswith("part-") and name.endswith(".json")])
        print(write_with_a_kill(writing, folder / "set", draws.randint(1, parts // 2), draws), flush=True)
        written = files_of(folder / "set")
        differing = sorted(name for name in expected.keys() | written.keys() if expected.get(name) != written.get(name))
        print(f"{len(expected)} files of one process; different: {', '.join(differing) or 'none'}", flush=True)
        for name, processes in (("alone", 1), ("set", 2)):
            evaluate([*reading, "--attack", STORED.strip().format(folder / name)], folder / f"{name}-read", processes)
        answers = compare(folder / "alone-read", folder / "set-read")
        for analysis, difference in sorted(answers.items()):
            print(f"{analysis}, read by two processes: {difference or 'equal'}")
    return 1 if differing or any(answers.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
