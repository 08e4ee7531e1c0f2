"""A folder has one writer at a time, whatever became of the writers before."""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import Memory, small_batch, small_network

from lightning_advinterp.core import locks
from lightning_advinterp.core.locks import LOCK, FolderInUseError, held, in_use

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def holder():
    """Processes that hold a folder until they are killed; each has a forked child, like a loader's worker."""
    started = []
    program = (
        "import os, sys, time\n"
        "from lightning_advinterp.core.locks import held\n"
        "with held(sys.argv[1]):\n"
        "    child = os.fork()\n"
        "    if child: print(child, flush=True)\n"
        "    time.sleep(60)\n"
    )

    def start(folder):
        process = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True)
        with process.stdout:
            started.extend([process.pid, int(process.stdout.readline())])
        return process

    yield start
    for pid in started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_second_writer_learns_who_the_first_is_and_follows_one_that_was_killed(tmp_path, holder):
    process = holder(tmp_path / "out")
    since = json.loads((tmp_path / "out" / LOCK).read_text())["since"]
    with pytest.raises(FolderInUseError) as refusal, held(tmp_path / "out", "checkpoint"):
        pass
    host = os.uname().nodename
    assert str(refusal.value) == (
        f"checkpoint: {tmp_path / 'out'} is in use by process {process.pid} on {host}, since {since}; wait until "
        "it has ended, or choose another checkpoint."
    )
    assert in_use(tmp_path / "out" / LOCK)
    process.kill()  # its child lives on
    process.wait()
    with held(tmp_path / "out"):
        assert json.loads((tmp_path / "out" / LOCK).read_text())["pid"] == os.getpid()


def test_one_process_enters_again_and_leaves_nothing(tmp_path):
    (tmp_path / "kept").mkdir()
    for name in ("made", "kept"):
        with held(tmp_path / name):
            with held(tmp_path / name):
                assert os.listdir(tmp_path / name) == [LOCK]
            assert os.listdir(tmp_path / name) == [LOCK]
            child = FORK.Process(target=refused_here, args=(tmp_path / name,))
            child.start()
            child.join()
            assert child.exitcode == 3
    assert os.listdir(tmp_path) == ["kept"]
    assert not os.listdir(tmp_path / "kept")


def refused_here(folder):
    try:
        with held(folder):
            os._exit(0)
    except FolderInUseError:
        os._exit(3)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"host": "a"}', '{"host": "a", "pid": "x"}', "\x00"])
def test_a_damaged_lock_file_of_nobody_is_no_obstacle(tmp_path, text):
    (tmp_path / LOCK).write_text(text)
    with held(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


def note(folder, **changes):
    content = {"host": os.uname().nodename, "pid": os.getppid(), "started": locks._started(os.getppid()), "token": "x"}
    (folder / LOCK).write_text(json.dumps(content | {"since": "then"} | changes))


@pytest.fixture
def no_locks(monkeypatch):
    """A file system without locks."""
    monkeypatch.setattr(locks, "_lock", lambda handle: True)


@pytest.mark.parametrize("changes", [{"pid": 2**22 + 1}, {"started": "0"}, {"started": None}])
def test_on_one_machine_an_ended_process_is_seen_without_locks(tmp_path, no_locks, changes):
    note(tmp_path)
    with pytest.raises(FolderInUseError), held(tmp_path):
        pass
    note(tmp_path, **changes)  # another process may have the number now
    with held(tmp_path):
        pass


def touched(path):
    for _ in range(60):
        time.sleep(0.05)
        os.utime(path)


@pytest.mark.parametrize("alive", [True, False])
def test_on_another_machine_only_one_that_gives_signs_of_life_counts(tmp_path, monkeypatch, no_locks, capsys, alive):
    monkeypatch.setattr(locks, "HEARTBEAT", 0.05)
    monkeypatch.setattr(locks, "PATIENCE", 0.5)
    note(tmp_path, host="elsewhere", pid=7)
    if alive:
        process = FORK.Process(target=touched, args=(tmp_path / LOCK,))
        process.start()
        with pytest.raises(FolderInUseError, match="in use by process 7 on elsewhere, since then"), held(tmp_path):
            pass
        process.kill()
        process.join()
        process.close()
    else:
        with held(tmp_path):
            pass
        assert "process 7 on elsewhere, since then gives no sign of life" in capsys.readouterr().err


def test_who_was_taken_over_stops(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "HEARTBEAT", 0.05)
    stopped = False
    try:
        with held(tmp_path):
            note(tmp_path, host="elsewhere")
            time.sleep(5)
    except KeyboardInterrupt:
        stopped = True
    assert stopped


def contend(folder, results, everyone_tried):
    try:
        with held(folder):
            results.put(True)
            everyone_tried.wait(30)
    except FolderInUseError:
        results.put(False)


def test_of_many_that_find_a_stale_lock_one_takes_it(tmp_path):
    note(tmp_path, pid=2**22 + 1)
    results, everyone_tried = FORK.Queue(), FORK.Event()
    everyone = [FORK.Process(target=contend, args=(tmp_path, results, everyone_tried)) for _ in range(6)]
    for process in everyone:
        process.start()
    assert sorted(results.get(timeout=30) for _ in everyone) == [False] * 5 + [True]
    everyone_tried.set()
    for process in everyone:
        process.join()
    assert not list(Path(tmp_path).iterdir())


def test_a_folder_that_cannot_be_written_is_said_to_be_so():
    with pytest.raises(OSError, match=r"output: cannot write to /dev/null/x \(Not a directory\)"), held("/dev/null/x"):
        pass


def write_set(folder):
    from lightning_advinterp.analyses.base.make_adversarial import make_adversarial_set
    from lightning_advinterp.attacks import fgsm

    data = Memory(small_batch(n=4))
    return lambda: make_adversarial_set(small_network(), data, fgsm("8/255"), folder, targets=1)


def write_export(folder):
    from lightning_advinterp.networks import create_network
    from lightning_advinterp.networks.export import export_network

    return lambda: export_network(create_network("cifar_resnet20", num_classes=3), folder)


def write_evaluation(folder):
    from lightning_advinterp.cli.evaluation.command import evaluate

    return lambda: evaluate(["--network", "cifar_resnet20", "--data", "concept_world", "--output", str(folder)])


def write_run(folder):
    from lightning_advinterp.cli import fit

    flags = ["--data", "ConceptWorldDataModule", "--data.train_size", "24", "--model.network", "cifar_resnet20"]
    return lambda: fit([*flags, "--output", str(folder.parent), "--name", folder.name])


@pytest.mark.parametrize("prepare", [write_set, write_export, write_evaluation, write_run])
def test_whatever_writes_a_folder_respects_its_holder(tmp_path, no_locks, capsys, prepare):
    write = prepare(tmp_path / "out")
    (tmp_path / "out").mkdir()
    note(tmp_path / "out")
    with pytest.raises((FolderInUseError, SystemExit)) as refusal:
        write()
    assert "is in use by process" in f"{refusal.value}{capsys.readouterr().err}"
    assert os.listdir(tmp_path / "out") == [LOCK]
