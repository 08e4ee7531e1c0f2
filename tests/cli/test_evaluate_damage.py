"""What an interrupted evaluation left is verified: damaged, it is set aside with a line, and the work starts anew."""

import errno
import os

import pytest
from lanes import few_fast
from unit_evaluations import power_cut, run, write_checkpoint, write_every_journal

from lightning_advinterp.core import files

FLAGS = ("accuracy", "--batch_size", "4")


@pytest.fixture(scope="module")
def uninterrupted(inputs, tmp_path_factory):
    return run(inputs, tmp_path_factory.mktemp("whole") / "out", *FLAGS)


@pytest.fixture
def eager(monkeypatch):
    write_every_journal(monkeypatch)


def flipped(place):
    def damage(content):
        at = int(place * (len(content) - 1))
        return content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :]

    return damage


DAMAGES = {
    "empty": lambda content: b"",
    "short": lambda content: content[: len(content) // 2],
    "other": lambda content: b"no journal at all",
    "long": lambda content: content + b"\x00" * 70000,
    "zeros": lambda content: bytes(len(content)),
} | {f"bit at {place}": flipped(place) for place in (0.1, 0.35, 0.6, 0.95)}


@pytest.mark.parametrize("damage", few_fast(DAMAGES, fast=2))
def test_a_damaged_journal_neither_blocks_nor_counts(
    inputs, uninterrupted, tmp_path, monkeypatch, eager, caplog, damage
):
    out = tmp_path / "out"
    with power_cut(monkeypatch):
        run(inputs, out, *FLAGS)
    (journal,) = out.glob(".unfinished-*")
    journal.write_bytes(DAMAGES[damage](journal.read_bytes()))
    assert run(inputs, out, *FLAGS) == uninterrupted
    told = [message for message in caplog.messages if "set aside as" in message]
    assert told or damage in ("long", "bit at 0.1", "bit at 0.35", "bit at 0.6", "bit at 0.95")  # or it was no damage
    assert not list(out.glob(".*"))


@pytest.mark.parametrize("damage", few_fast(DAMAGES, fast=2))
def test_a_damaged_note_neither_blocks_nor_counts(inputs, tmp_path, monkeypatch, caplog, damage):
    second = write_checkpoint(tmp_path / "second.ckpt", seed=1)
    config = f"rows:\n- {{name: a, checkpoint: {inputs / 'last.ckpt'}}}\n- {{name: b, checkpoint: {second}}}\n"
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr("lightning_advinterp.cli.evaluation.evaluated.Evaluated.forget", lambda self: None)
        expected = {}
        run(inputs, out, *FLAGS, config=config)
    for name in "ab":
        expected[name] = (out / name / "accuracy.csv").read_text()
    (note,) = (out / "a").glob(".unfinished-*.json")
    note.write_bytes(DAMAGES[damage](note.read_bytes()))
    run(inputs, out, *FLAGS, config=config)
    assert {name: (out / name / "accuracy.csv").read_text() for name in "ab"} == expected
    assert any("set aside as" in message for message in caplog.messages)
    assert not [path.name for path in (out / "a").glob(".*")]


@pytest.mark.parametrize("number", [0, 2, 5, 7, 9])
def test_a_full_disk_is_one_line_and_loses_nothing(inputs, uninterrupted, tmp_path, monkeypatch, capsys, eager, number):
    sync, handles, out = os.fsync, [], tmp_path / "out"

    def full(handle):
        handles.append(handle)
        if len(handles) > number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", full)
        with pytest.raises(SystemExit) as stop:
            run(inputs, out, *FLAGS)
    assert stop.value.code in (1, 2)
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert "No space left on device" in line
    assert not (out / "results.json").exists()
    assert run(inputs, out, *FLAGS) == uninterrupted
    assert not list(out.glob(".*"))
