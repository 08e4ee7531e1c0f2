"""What goes wrong outside the program: a clear line before work is lost, and whole files after it."""

import errno
import os
import re
import shutil
from collections import namedtuple

import pytest
import torch
from interruptions import STEPS, PowerCut, Runs, assert_same, cut
from PIL import Image

from lightning_advinterp.analyses import Runner
from lightning_advinterp.cli import evaluate
from lightning_advinterp.cli.evaluation import single
from lightning_advinterp.datamodules.cifar import CIFAR10DataModule
from lightning_advinterp.objectives import Consistency
from lightning_advinterp.training import checkpoint_io


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_with_its_images_named(tmp_path, monkeypatch, capsys, value):
    runs = Runs(tmp_path, monkeypatch)
    loss = Consistency.loss

    def spoilt(self, network, batch, *, epoch):
        losses = loss(self, network, batch, epoch=epoch)
        return losses._replace(total=losses.total * value) if len(runs.seen) == STEPS + 2 else losses

    monkeypatch.setattr(Consistency, "loss", spoilt)
    assert runs.start("run") == 1
    error = capsys.readouterr().err
    images = ", ".join(map(str, runs.seen[-1][2]))
    assert f"the loss became {value} in epoch 1, batch 1; images {images}. " in error
    assert f"Kept as they were: {runs.path('run', 'best')}, {runs.path('run')}." in error
    assert len(runs.seen) == STEPS + 2
    assert checkpoint_io.not_finite(runs.content("run")["state_dict"]) is None
    assert runs.content("run")["epoch"] == 0


def test_weights_that_are_no_numbers_never_replace_a_checkpoint(tmp_path, monkeypatch, capsys):
    """The loss of the last step is still finite, but its gradient was not."""
    runs = Runs(tmp_path, monkeypatch)
    step = torch.optim.SGD.step

    def spoilt(self, closure=None):
        value = step(self, closure)
        if len(runs.seen) == 2 * STEPS:
            self.param_groups[0]["params"][0].data.fill_(float("nan"))
        return value

    monkeypatch.setattr(torch.optim.SGD, "step", spoilt)
    assert runs.start("run") == 1
    assert re.search(r"mid.ckpt is not written: state_dict.network.\S+ holds NaN or infinity", capsys.readouterr().err)
    assert runs.files("run") == ["best.ckpt", "last.ckpt"]
    assert runs.content("run")["epoch"] == 0


@pytest.mark.slow
def test_a_disk_that_fills_up_keeps_the_checkpoint_before_and_the_run_can_go_on(tmp_path, monkeypatch, capsys):
    runs = Runs(tmp_path, monkeypatch)
    runs.start("whole")
    save, written = checkpoint_io.save_plainly, []

    def full(content, file):
        written.append(file.name)
        if len(written) == 4:  # mid, best, last, then mid again
            file.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(content, file)

    monkeypatch.setattr(checkpoint_io, "save_plainly", full)
    assert runs.start("parts") == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(
        "error: [Errno 28] cannot write the file (No space left on device); what was there is unchanged"
    )
    assert "mid.ckpt" in error
    assert runs.files("parts") == ["best.ckpt", "last.ckpt"]
    runs.start("parts")
    assert_same(runs.content("whole"), runs.content("parts"))


def test_an_output_without_room_is_refused_before_training(tmp_path, monkeypatch, capsys):
    runs = Runs(tmp_path, monkeypatch)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    assert runs.start("run") == 2
    assert re.search("has 0 MB left, the checkpoints need about 0 MB; make room", capsys.readouterr().err)
    assert not runs.seen


def test_leftovers_of_a_killed_run_are_cleared(tmp_path, monkeypatch):
    runs = Runs(tmp_path, monkeypatch).at("training", 1, cut)
    with pytest.raises(PowerCut):
        runs.start("run")
    leftover = runs.path("run").parent / ".last.ckpt.ab12cd34.unfinished"
    leftover.touch()
    runs.start("run")
    assert not leftover.exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--trainer.accelerator", "gpu"),
            "trainer: .*Asked for were accelerator='gpu' .*; this machine has a CPU and 0 CUDA",
        ),
        (("--trainer.devices", "0"), r"trainer: `Trainer\(devices='0'\)` value is not a valid input"),
        (
            ("--output", "/dev/null"),
            r"output: cannot write to /dev/null/run \(Not a directory\); choose another output",
        ),
        (
            ("--data", "ImageFolderDataModule", "--data.init_args.root", "no/such"),
            "root must be a folder of images, found nothing at 'no/such'",
        ),
        (("--data", "CIFAR10DataModule", "--data.init_args.root", "no/such"), "found no such folder at 'no/such'"),
        (
            ("--checkpoint.monitor", "val/pgd_acc"),
            "val/pgd_acc is not logged in every epoch; choose one of val/acc, .*val/fgsm_acc",
        ),
        (("--accuracy.every_n_epochs", "2", "--checkpoint.monitor", "val/fgsm_acc"), "with accuracy.every_n_epochs: 1"),
        (("--checkpoint.monitor", "dissection/retention"), "set dissection, with dissection.every_n_epochs: 1"),
        (("--checkpoint.monitor", "fragility/images"), "set fragility, with fragility.every_n_epochs: 1"),
        (
            ("--semantics.every_n_epochs", "2", "--checkpoint.monitor", "distances/fgsm/r_src"),
            "set semantics, with semantics.every_n_epochs: 1",
        ),
        (("--checkpoint.every_n_steps", "0"), "every_n_steps must be 1 or more, got 0"),
        (("--resume", __file__), "test_faults.py is cut short, or no checkpoint at all"),
        (("--model.objective.layers", "nope"), "module path of SmallBackbone, got 'nope'"),
        (("--dissection.settings.layers", "nope"), "module path of SmallBackbone, got 'nope'"),
        (("--semantics.settings.layers", "nope"), "module path of SmallBackbone, got 'nope'"),
        (("--dissection.concepts", "no/such"), "found nothing at 'no/such'"),
        (("--export.folder", "/dev/null/x"), r"export.folder: cannot write to /dev/null/x \(Not a directory\)"),
    ],
)
def test_what_would_fail_later_is_said_first(tmp_path, monkeypatch, capsys, flags, message):
    if "gpu" in flags and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    runs = Runs(tmp_path, monkeypatch)
    assert runs.start("run", *flags) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert re.search(message, lines[-1] if lines[-1].startswith("error") else " ".join(lines))
    assert not runs.seen


def test_data_are_prepared_before_they_are_looked_for(tmp_path, monkeypatch):
    """A data set that is to be downloaded is not missing."""

    def prepare(module):
        for split, count in (("train", 4), ("test", 1)):
            for name in module.class_names:
                (module.root / split / name).mkdir(parents=True, exist_ok=True)
                for number in range(count):
                    Image.new("RGB", (32, 32), (9 * number, 0, 0)).save(module.root / split / name / f"{number}.jpg")

    monkeypatch.setattr(CIFAR10DataModule, "prepare_data", prepare)
    runs = Runs(tmp_path, monkeypatch, "--data", "CIFAR10DataModule", "--data.init_args.num_workers", "0")
    runs.start("run", "--data.init_args.root", str(tmp_path / "data"), "--data.init_args.val_share", "null")
    assert len(runs.seen) == 2 * (40 // 8)


def test_a_folder_without_training_images_is_refused_first(tmp_path, monkeypatch, capsys):
    for name in ("cat", "dog"):
        (tmp_path / "data" / "val" / name).mkdir(parents=True)
        (tmp_path / "data" / "val" / name / "a.png").touch()
    runs = Runs(tmp_path, monkeypatch)
    flags = ("--data", "ImageFolderDataModule", "--data.init_args.root", str(tmp_path / "data"))
    assert runs.start("run", *flags) == 2
    assert "has no 'train' data" in capsys.readouterr().err


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        runs = Runs(tmp_path_factory.mktemp("runs"), monkeypatch)
        runs.start("run", "--trainer.max_epochs", "1")
        return runs.path("run")


def test_only_the_checking_of_input_is_made_plain(checkpoint, tmp_path, monkeypatch, capsys):
    """A mistake of the program, whatever its kind, keeps its traceback in a file that the line names."""

    def broken(*_, **__):
        raise ValueError("shapes differ")

    flags = ["--checkpoint", str(checkpoint), "--limit", "4", "--output", str(tmp_path / "out")]
    monkeypatch.setattr(Runner, "run", broken)
    with pytest.raises(SystemExit) as stop:
        evaluate(flags)
    assert stop.value.code == 1
    monkeypatch.setattr(Consistency, "loss", broken)
    runs = Runs(tmp_path, monkeypatch)
    assert runs.start("run") == 1
    printed = capsys.readouterr().err
    for folder in (tmp_path / "out", runs.path("run").parent):
        assert f"error: ValueError: shapes differ (where it happened stands in {folder / 'traceback.txt'})" in printed
        assert "in broken" in (folder / "traceback.txt").read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--device", "cuda:7"), "device 'cuda:7' cannot be used here; there are cpu"),
        (("--num_workers", "-1"), "num_workers must be 'auto' or an integer of at least 0, got -1"),
        (("--batch_size", "0"), "batch_size must be 1 or more, got 0"),
        (("--output", "/dev/null/x"), "output: cannot write to '/dev/null/x'"),
    ],
)
def test_evaluations_say_first_what_would_fail_later(checkpoint, tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit) as stop:
        evaluate(["--checkpoint", str(checkpoint), "--output", str(tmp_path / "out"), *flags])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_results_that_cannot_be_written_are_said_plainly(checkpoint, tmp_path, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "accuracy.csv")

    monkeypatch.setattr(single, "save_evaluation", full)
    with pytest.raises(SystemExit) as stop:
        evaluate(["--checkpoint", str(checkpoint), "--limit", "4", "--output", str(tmp_path / "out")])
    assert stop.value.code == 1
    assert "No space left on device: 'accuracy.csv'" in capsys.readouterr().err
