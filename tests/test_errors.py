"""What stops a command is said in one line; the traceback of the program's own faults is kept."""

import os
import signal

import pytest

from lightning_advinterp.ablation import command as ablation
from lightning_advinterp.cli import adversarial, export
from lightning_advinterp.cli.evaluation import command as evaluation
from lightning_advinterp.core.errors import (
    TRACEBACK,
    RunStoppedError,
    plain_errors,
    stops_explained,
    termination_explained,
)
from lightning_advinterp.data.decode import open_image


def ended(block, *kinds, folder=None):
    """Run a block as a command; return its status."""
    try:
        with stops_explained(*kinds) as command, termination_explained():
            command.folder = folder
            block()
    except SystemExit as stop:
        return stop.code
    return 0


def raising(error):
    def block():
        raise error

    return block


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("sizes differ\nand more"), ValueError("no number")])
def test_a_fault_of_the_program_keeps_its_traceback(tmp_path, capsys, error):
    assert ended(raising(error), folder=tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    path = tmp_path / "out" / TRACEBACK
    first = str(error).splitlines()[0]
    assert line == f"error: {type(error).__name__}: {first} (where it happened stands in {path})"
    assert "in block" in path.read_text()


def test_without_a_folder_the_traceback_is_printed(capsys):
    assert ended(raising(KeyError("x"))) == 1
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert "error: KeyError: 'x'" in printed


@pytest.mark.parametrize("error", [RunStoppedError("no room"), OSError("no room"), KeyError("no room")])
def test_a_known_reason_has_no_traceback(tmp_path, capsys, error):
    assert ended(raising(error), KeyError, folder=tmp_path) == 1
    assert capsys.readouterr().err.strip() in ("error: no room", "error: 'no room'")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_one_line(tmp_path, capsys, number, status):
    def block():
        os.kill(os.getpid(), number)
        for _ in range(1000):  # handlers run between two instructions
            pass

    assert ended(block, folder=tmp_path) == status
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.endswith("the same command goes on from what is saved")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_wrong_input_is_a_line_and_another_librarys_error_keeps_its_traceback(tmp_path, capsys):
    def theirs():
        with plain_errors():
            import numpy as np

            np.zeros(3).reshape(2, 2)

    def ours():
        with plain_errors():
            from lightning_advinterp.attacks import fgsm

            fgsm("400/255")

    assert ended(ours, folder=tmp_path) == 2
    assert not list(tmp_path.iterdir())
    assert ended(theirs, folder=tmp_path) == 2
    assert "reshape(2, 2)" in (tmp_path / TRACEBACK).read_text()
    assert [line[:6] for line in capsys.readouterr().err.strip().splitlines()] == ["error:", "error:"]


COMMANDS = {
    "evaluate": (evaluation, "run_evaluation", lambda args: evaluation.evaluate(args), []),
    "set": (adversarial, "load_subject", adversarial.main, []),
    "export": (export, "load_checkpoint", export.main, ["last.ckpt"]),
    "ablation": (ablation, "run", ablation.main, ["--base", "[]", "--arms", "{a: a.yaml}"]),
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(("error", "status"), [(TypeError("ours"), 1), (KeyboardInterrupt(), 130)])
def test_every_command_explains_what_stops_it(tmp_path, monkeypatch, capsys, name, error, status):
    room, function, command, flags = COMMANDS[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").touch()
    monkeypatch.setattr(room, function, lambda *_, **__: raising(error)())
    with pytest.raises(SystemExit) as stop:
        command([*flags, "--output", str(tmp_path / "out")])
    assert stop.value.code == status
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert (tmp_path / "out" / TRACEBACK).exists() == (status == 1)


def test_what_the_package_wraps_is_said_by_its_own_words(capsys):
    """The inner error knows neither the argument nor the file."""
    with pytest.raises(SystemExit), plain_errors(), open_image("/dev/null"):
        pass
    assert capsys.readouterr().err.startswith("error: cannot read image '/dev/null': it is a device, no file")
