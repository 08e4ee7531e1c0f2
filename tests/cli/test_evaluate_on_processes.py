"""The evaluation and the set commands on several processes of this machine, as a user starts them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forked import ForkedPython
from unit_evaluations import tables, write_inputs

REPOSITORY = Path(__file__).parents[2]
ANALYSES = "accuracy,predictions,dissection,semantics,distances,panels,curvature,fragility,tracing"
SMALL = """
fragility: {preset: quick, limit: 2, pool: 2, faithfulness: 0, show: 0, batch_size: 1}
tracing: {limit: 3, show: 1, units: 3, screen: 3, samples: 2, recalled: 1}
"""
"""Beside the settings of ``unit_evaluations``; all analyses on real images: ``tests/equal_on_processes.py``."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Images of which one cannot be read; it falls to the second of two processes."""
    folder = write_inputs(tmp_path_factory.mktemp("inputs"))
    damaged = sorted((folder / "data").iterdir())[0] / "1b.png"
    damaged.write_bytes(b"broken")
    (folder / "small.yaml").write_text(SMALL)
    return folder


def evaluation(inputs, output, analyses, *flags):
    """The command's flags; images pass one by one, so that no number depends on which ones share a batch."""
    named = ["--checkpoint", str(inputs / "last.ckpt"), "--data", str(inputs / "data")]
    quick = [
        "--config",
        str(inputs / "fast.yaml"),
        "--config",
        str(inputs / "small.yaml"),
        "--num_workers",
        "0",
        "--batch_size",
        "1",
        "--device",
        "cpu",
    ]
    return [*quick, *named, "--analyses", analyses, "--output", str(output), *flags]


def environment(**variables):
    """Variables of a process that nothing else started."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RANK", "LOCAL_RANK"))}
    return inherited | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"} | variables


def start(script, *flags, launcher=(sys.executable,)):
    return subprocess.Popen(
        [*launcher, *script, *map(str, flags)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def evaluate(*flags, **options):
    """Run to the end; return status and what was printed."""
    process = start([str(REPOSITORY / "evaluate.py")], *flags, **options)
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def evaluate_forked(*flags, **variables):
    """The same in processes that are forked from this one."""
    command = [sys.executable, str(REPOSITORY / "evaluate.py"), *map(str, flags)]
    process = ForkedPython(command, env=environment(**variables), captured=True)
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def contents(folder):
    """All files but the record, which says when it was written; and what is hidden."""
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name not in ("results.json", "index.html")}


@pytest.fixture(scope="module")
def alone(inputs):
    """What one process makes of it."""
    flags = evaluation(inputs, inputs / "alone", ANALYSES, "--concepts", inputs / "broden", "--on_bad_image", "skip")
    status, _, err = evaluate(*flags)
    assert status == 0, err
    return contents(inputs / "alone")


@pytest.mark.ddp
@pytest.mark.slow
def test_processes_write_what_one_writes(inputs, alone, tmp_path):
    """Uneven shares, and an image that is skipped; tables, figures, arrays and pictures are equal to the byte."""
    flags = ("--concepts", inputs / "broden", "--on_bad_image", "skip", "--devices", "3")
    status, out, err = evaluate(*evaluation(inputs, tmp_path / "three", ANALYSES, *flags))
    assert status == 0, err[-3000:]
    assert contents(tmp_path / "three") == alone
    assert out.count("written to") == out.count("labels by the names of the outputs") == 1
    assert err.count("skipped 1 of 16 images") == 1
    assert "1b.png" in (tmp_path / "three" / "results.json").read_text()


@pytest.mark.ddp
@pytest.mark.slow
def test_torchrun_starts_them_too(inputs, tmp_path):
    """There are fewer images than processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    flags = ("--data", "concept_world", "--limit", "1")
    status, out, err = evaluate(*evaluation(inputs, tmp_path / "two", "accuracy", *flags), launcher=launcher)
    assert status == 0, err[-3000:]
    assert out.count("written to") == 1
    assert evaluate(*evaluation(inputs, tmp_path / "one", "accuracy", *flags))[0] == 0
    assert tables(tmp_path / "two") == tables(tmp_path / "one")


@pytest.mark.ddp
@pytest.mark.slow
def test_a_failure_of_one_process_ends_all_in_one_line(inputs, tmp_path):
    """The second process meets the damaged image; the first says so."""
    status, out, err = evaluate_forked(*evaluation(inputs, tmp_path / "out", "accuracy", "--devices", "2"))
    assert status == 1
    errors = [line for line in err.splitlines() if "error" in line.lower()]
    assert len(errors) == 1, err
    assert re.fullmatch(r"error: .*1b\.png.*", errors[0])
    assert "Traceback" not in err
    assert "written to" not in out


@pytest.mark.ddp
@pytest.mark.slow
def test_what_is_wrong_with_the_input_is_said_once(inputs, tmp_path):
    flags = evaluation(inputs, tmp_path / "out", "accuracy", "--limt", "3")
    of_torchrun = {"TORCHELASTIC_RUN_ID": "run", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    printed = ""
    for rank in ("0", "1"):
        status, _, err = evaluate_forked(*flags, **of_torchrun, RANK=rank, LOCAL_RANK=rank)
        assert status != 0
        printed += err
    assert printed.count("error: there is no key limt; did you mean limit?") == 1
    (tmp_path / "file").write_text("")
    status, _, err = evaluate_forked(*evaluation(inputs, tmp_path / "file", "accuracy", "--devices", "2"))
    assert status == 2
    assert err.count("output: cannot write to") == 1


@pytest.mark.ddp
@pytest.mark.slow
def test_a_killed_process_ends_all_and_a_set_goes_on_with_another_number(inputs, tmp_path):
    named = ["--checkpoint", inputs / "last.ckpt", "--data", "concept_world", "--limit", "60", "--device", "cpu"]
    flags = ["--attack", "{type: pgd, eps: 8/255, steps: 40}", "--part", "4", "--batch_size", "1"]
    script = ["-m", "lightning_advinterp.adversarial"]
    alone = start(script, *named, *flags, "--output", tmp_path / "alone")
    process = start(script, *named, *flags, "--devices", "2", "--output", tmp_path / "set")
    while len(list((tmp_path / "set").glob("part-*.json"))) < 3 and process.poll() is None:
        time.sleep(0.02)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True).stdout
    os.kill(int(children.split()[0]), signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0, err
    parts = list((tmp_path / "set").glob("part-*.json"))
    assert 3 <= len(parts) < 15, "the others did not go on alone"
    again = start(script, *named, *flags, "--devices", "3", "--output", tmp_path / "set")
    out, err = again.communicate(timeout=240)
    assert again.returncode == 0, err[-3000:]
    assert " ".join(out.split()).count("60 adversarial images") == 1
    alone.communicate(timeout=240)
    assert alone.returncode == 0
    assert contents(tmp_path / "set") == contents(tmp_path / "alone")


@pytest.mark.ddp
@pytest.mark.slow
def test_a_killed_evaluation_goes_on_to_the_same_files(inputs, tmp_path):
    """One of two processes is killed after the sweep of thresholds; the same command counts on from there."""
    attack = ("--attack", "{type: pgd, eps: 8/255, steps: 30}", "--concepts", inputs / "broden")
    assert evaluate(*evaluation(inputs, tmp_path / "one", "dissection", *attack))[0] == 0
    flags = evaluation(inputs, tmp_path / "two", "dissection", *attack, "--devices", "2")
    process = start([str(REPOSITORY / "evaluate.py")], *flags)
    while not list((tmp_path / "two").rglob("*.merged")) and process.poll() is None:
        time.sleep(0.02)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True).stdout
    os.kill(int(children.split()[0]), signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0, err
    assert not list((tmp_path / "two").glob("*.csv"))
    status, out, err = evaluate(*flags)
    assert status == 0, err[-3000:]
    assert "written to" in out
    assert "starts anew" not in err
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
