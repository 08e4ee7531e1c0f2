"""Files that are whole or absent, whatever happens while they are written."""

import errno
import multiprocessing
import os
import resource
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.core.files import remove_unfinished, whole_folder, write_atomically, write_text
from lightning_advinterp.training.checkpoint_io import AtomicCheckpointIO, not_finite, read_checkpoint


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_file_before_goes_on_under_its_second_name(tmp_path):
    path, second_name = tmp_path / "a.txt", tmp_path / "b.txt"
    for number in range(4):
        write_atomically(path, lambda file, number=number: file.write(str(number).encode()), keep=second_name)
    assert (path.read_text(), second_name.read_text()) == ("3", "2")
    assert names(tmp_path) == ["a.txt", "b.txt"]


def test_without_hard_links_too(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    path, second_name = tmp_path / "a.txt", tmp_path / "b.txt"
    for text in ("one", "two"):
        write_atomically(path, lambda file, text=text: file.write(text.encode()), keep=second_name)
    assert (path.read_text(), second_name.read_text()) == ("two", "one")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_at_every_step_of_a_failing_write_the_old_content_is_whole(tmp_path, monkeypatch, step):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail(*_):
        assert path.read_text() == "old"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fail)
    with pytest.raises(
        OSError, match=r"cannot write the file \(No space left on device\); .* unchanged: '.*a.txt'"
    ) as error:
        write_text(path, "new")
    assert error.value.errno == errno.ENOSPC
    assert names(tmp_path) == ["a.txt"]


def test_the_temporary_folder_of_the_system_is_never_used(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such folder"))
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"a": torch.ones(3)}}, tmp_path / "runs" / "a.ckpt")
    assert torch.equal(read_checkpoint(tmp_path / "runs" / "a.ckpt")["state_dict"]["a"], torch.ones(3))


def test_what_killed_processes_left_is_removed(tmp_path):
    for name in (".last.ckpt.ab12cd34.unfinished", ".previous.ckpt.unfinished", "last.ckpt", ".hidden"):
        (tmp_path / name).touch()
    assert remove_unfinished(tmp_path) == [".last.ckpt.ab12cd34.unfinished", ".previous.ckpt.unfinished"]
    assert names(tmp_path) == [".hidden", "last.ckpt"]


@contextmanager
def full_disk(limit):
    """The kernel itself refuses to let files grow further."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_checkpoint_that_does_not_fit_on_the_disk_leaves_the_one_before(tmp_path):
    path, io = tmp_path / "last.ckpt", AtomicCheckpointIO({"last.ckpt": "previous.ckpt"})
    io.save_checkpoint({"state_dict": {"a": torch.zeros(10)}, "epoch": 0}, path)
    before = path.read_bytes()
    with full_disk(50_000), pytest.raises(OSError, match=r"cannot write the file \(File too large\)"):
        io.save_checkpoint({"state_dict": {"a": torch.zeros(100_000)}, "epoch": 1}, path)
    assert path.read_bytes() == before
    assert names(tmp_path) == ["last.ckpt"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_never_written(tmp_path, bad):
    path, io = tmp_path / "last.ckpt", AtomicCheckpointIO()
    io.save_checkpoint({"state_dict": {"a": torch.zeros(2)}}, path)
    for content in (
        {"state_dict": {"a": torch.tensor([0.0, bad])}},
        {"state_dict": {"a": torch.zeros(2)}, "optimizer_states": [{"state": {0: {"momentum": torch.tensor(bad)}}}]},
    ):
        with pytest.raises(
            RunStoppedError, match=r"last.ckpt is not written: (state_dict.a|optimizer_states.0.state.0)"
        ):
            io.save_checkpoint(content, path)
    assert torch.equal(read_checkpoint(path)["state_dict"]["a"], torch.zeros(2))
    assert not_finite({"count": torch.tensor(3), "score": torch.tensor(1.0), "note": "nan"}) is None


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("evil"),))


def test_reading_runs_no_code_whatever_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Evil()}, "evil.ckpt")
    for weights_only in (None, False, True):
        with pytest.raises(
            ValueError, match=r"evil.ckpt holds more than tensors and plain data: getattr\. Code .* never"
        ):
            AtomicCheckpointIO().load_checkpoint("evil.ckpt", weights_only=weights_only)
    assert not Path("evil").exists()


def test_a_folder_that_a_killed_process_left_half_written_is_removed_and_others_are_not(tmp_path):
    for name in ("set", "other"):
        (tmp_path / f".{name}.ab12.unfinished" / "images").mkdir(parents=True)
    with whole_folder(tmp_path / "set") as folder:
        (folder / "a.txt").touch()
        assert set(names(tmp_path)) == {".other.ab12.unfinished", ".set.lock", folder.name}
    assert names(tmp_path) == [".other.ab12.unfinished", "set"]


def written_here(path):
    try:
        with whole_folder(path):
            os._exit(0)
    except OSError as error:
        os._exit(3 if "is in use by process" in str(error) else 4)


def test_a_second_process_does_not_write_the_same_folder(tmp_path):
    with whole_folder(tmp_path / "set") as folder:
        child = multiprocessing.get_context("fork").Process(target=written_here, args=(tmp_path / "set",))
        child.start()
        child.join()
        assert child.exitcode == 3
        assert folder.exists()
