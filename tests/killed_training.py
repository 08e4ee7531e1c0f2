"""Two processes train on real images and are killed; three go on, and learn what one process with their batch learns.

``python tests/killed_training.py --weights FILE --data FOLDER`` runs it with ResNet-18 at 64 px. A training of three
epochs on two processes is killed by SIGKILL at a random moment, with ``last.ckpt`` and mostly ``mid.ckpt`` on disk.
Three processes then either go on, or are refused with a remedy that is followed. From the same checkpoint one process
goes on with three times the batch: by DDP's arithmetic it takes the same steps, but for rounding.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from equal_on_processes import REPOSITORY

CONFIG = """
name: run
seed_everything: 1
compare_with_standard: false
trainer:
  {max_epochs: 3, accelerator: cpu, log_every_n_steps: 1, enable_progress_bar: false, enable_model_summary: false,
   strategy: ddp, sync_batchnorm: true}
data: {class_path: ImageFolderDataModule, init_args: {image_size: 64, num_workers: 0}}
model:
  network: resnet18
  objective: Standard
  optimizer: {name: sgd, lr: 0.001}
  schedule: {name: constant}
checkpoint: {monitor: null, every_n_steps: 2}
accuracy: null
guard: null
pictures: null
"""
BATCH, CLASSES, TRAINED, VALIDATED = 4, 3, 16, 4
"""Images of a process's step; classes; images of each class."""
TOLERANCE = 1e-3
"""Of the weights' change since the checkpoint, relative: float32 sums in another order."""


def link_images(source: Path, folder: Path) -> None:
    """Make a folder of links to a few images of a few classes."""
    for split, count in (("train", TRAINED), ("val", VALIDATED)):
        for path in sorted(path for path in (source / split).iterdir() if path.is_dir())[:CLASSES]:
            (folder / split / path.name).mkdir(parents=True)
            for image in sorted(path.iterdir())[:count]:
                (folder / split / path.name / image.name).symlink_to(image.absolute())


def command(flags: list[str], output: Path, processes: int, batch: int, *more: str) -> subprocess.Popen[str]:
    """Start a training."""
    line = [sys.executable, str(REPOSITORY / "train.py"), *flags, "--output", str(output)]
    line += ["--trainer.devices", str(processes), "--data.init_args.batch_size", str(batch), *more]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        line, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a training; return its status and what it printed."""
    printed, _ = process.communicate(timeout=1800)
    return process.returncode, printed


def kill_midway(process: subprocess.Popen[str], run: Path, seconds: float) -> None:
    """Kill all processes of a training so many seconds after its first epoch's checkpoint is there.

    Raises:
        RuntimeError: if it ended before.
    """
    while process.poll() is None and not (run / "last.ckpt").exists():
        time.sleep(0.01)
    time.sleep(seconds)
    if process.poll() is not None:
        raise RuntimeError(f"the training ended before it was killed: {finished(process)[1][-2000:]}")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def change(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the change of all weights and statistics as one vector."""
    names = [name for name in before if before[name].is_floating_point()]
    return torch.cat([(after[name] - before[name]).flatten().double() for name in names])


def main() -> int:
    """Parse the command line, train, kill, go on, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train/<class> and val/<class>")
    parser.add_argument("--seed", type=int, default=0, help="of the moment")
    parser.add_argument("--folder", type=Path, default=None, help="for the runs; a temporary one by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        link_images(options.data, folder / "images")
        (folder / "run.yaml").write_text(CONFIG)
        flags = ["--config", str(folder / "run.yaml"), "--model.weights", options.weights]
        flags += ["--data.init_args.root", str(folder / "images")]
        run = folder / "two" / "run"
        seconds = random.Random(options.seed).uniform(0, 4)
        kill_midway(command(flags, folder / "two", 2, BATCH), run, seconds)
        names = sorted(path.name for path in run.glob("*.ckpt"))
        print(f"killed {seconds:.2f} s after the first epoch; on disk: {', '.join(names)}", flush=True)
        shutil.copytree(folder / "two", folder / "one")
        start = torch.load(run / "last.ckpt", weights_only=True)
        status, printed = finished(command(flags, folder / "two", 3, BATCH))
        print(f"three processes: status {status}", flush=True)
        if status != 0:
            print(next((line for line in printed.splitlines() if "error" in line), printed[-2000:]), flush=True)
            status, printed = finished(command(flags, folder / "two", 3, BATCH, "--resume", str(run / "last.ckpt")))
            print(f"three processes from last.ckpt: status {status}", flush=True)
        print("\n".join(line for line in printed.splitlines() if "images" in line and "step" in line))
        if status != 0:
            print(printed[-2000:])
            return 1
        last = str(folder / "one" / "run" / "last.ckpt")
        status, printed = finished(command(flags, folder / "one", 1, 3 * BATCH, "--resume", last))
        if status != 0:
            print(f"one process: status {status}: {printed[-2000:]}")
            return 1
        ends = [torch.load(folder / name / "run" / "last.ckpt", weights_only=True) for name in ("two", "one")]
    three, one = (change(start["state_dict"], end["state_dict"]) for end in ends)
    difference = float((three - one).norm() / one.norm())
    print(f"epoch {start['epoch']} to {ends[0]['epoch']}, steps {[end['global_step'] for end in ends]}")
    print(f"three processes beside one with three times the batch: the weights' changes differ by {difference:.1e}")
    return 0 if difference <= TOLERANCE and ends[0]["global_step"] == ends[1]["global_step"] else 1


if __name__ == "__main__":
    sys.exit(main())
