"""A few of the kills of ``kill_and_resume.py``, which is the whole proof."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kill_and_resume.py")


@pytest.mark.slow
def test_killed_runs_end_with_the_weights_of_one_that_was_not(tmp_path):
    kills = "before_replace 4,half_written 1,after_replace 4,validation 8,training 8"
    command = [sys.executable, "-W", "ignore", str(SCRIPT), "--only", kills, "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 of 5 kills resumed to equal weights" in done.stdout


@pytest.mark.slow
def test_killed_sets_and_exports_end_with_the_files_of_those_that_were_not(tmp_path):
    flags = ["--commands", "set,export", "--kills", "4", "--seed", "3", "--folder", str(tmp_path)]
    command = [sys.executable, "-W", "ignore", str(SCRIPT), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 kills ended in equal files" in done.stdout
