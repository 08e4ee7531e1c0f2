"""How many processes there are, by whom they were started, and what they tell each other."""

import pytest
import torch
from processes import dissection_with_journal, on_processes, processes_that_fail

from lightning_advinterp.cli.processes import (
    ProcessChoice,
    device_of,
    joined,
    process_counts,
    processes_started,
    require_processes,
)
from lightning_advinterp.core.errors import Command, RunStoppedError
from lightning_advinterp.core.processes import ALONE

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}
SRUN = {"SLURM_STEP_NUM_TASKS": "6", "SLURM_STEP_NUM_NODES": "3", "SLURM_JOB_NAME": "table1"}


def test_who_started_how_many():
    assert processes_started({}) is None
    assert processes_started(TORCHRUN) == ("torchrun", (4, 2))
    assert processes_started(SRUN) == ("srun", (2, 3))
    assert processes_started({"SLURM_NTASKS": "6", "SLURM_PROCID": "0"}) is None, "a batch script is one process"
    assert processes_started(SRUN | {"SLURM_JOB_NAME": "bash"}) is None, "so is a shell"
    with pytest.raises(ValueError, match="srun started 7 processes on 3 machines; start as many on each"):
        processes_started(SRUN | {"SLURM_STEP_NUM_TASKS": "7"})


def test_flags_must_agree_with_what_started_the_process():
    assert process_counts(ProcessChoice(), {}) == (1, 1)
    assert process_counts(ProcessChoice(devices=3, num_nodes=2), {}) == (3, 2)
    assert process_counts(ProcessChoice(), TORCHRUN) == (4, 2)
    assert process_counts(ProcessChoice(devices=2), SRUN) == (2, 3)
    with pytest.raises(ValueError, match="devices: torchrun started 4 on each machine, got 2"):
        process_counts(ProcessChoice(devices=2), TORCHRUN)
    with pytest.raises(ValueError, match="num_nodes: srun uses 3, got 1"):
        process_counts(ProcessChoice(num_nodes=1), SRUN)
    with pytest.raises(ValueError, match="devices must be auto, or 1 or more, got 0"):
        process_counts(ProcessChoice(devices=0), {})
    with pytest.raises(ValueError, match="devices=2: here one process does the work"):
        require_processes(ProcessChoice(devices=2), 1)
    require_processes(ProcessChoice(devices=2), 2)
    require_processes(ProcessChoice(devices=2), 1, dry_run=True)


def test_the_accelerator_is_the_devices_kind():
    assert device_of(ProcessChoice(accelerator="cpu"), "auto") == torch.device("cpu")
    assert device_of(ProcessChoice(accelerator="cpu"), "cpu") == torch.device("cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device 'cuda' cannot be used here"):
            device_of(ProcessChoice(accelerator="gpu"), "auto")
    with pytest.raises(ValueError, match="accelerator=gpu contradicts device=cpu; leave one of them out"):
        device_of(ProcessChoice(accelerator="gpu"), "cpu")


def test_a_process_that_ends_before_all_are_joined_is_said_in_one_line(monkeypatch):
    def broken(fabric):
        raise torch.distributed.DistNetworkError("Broken pipe")

    monkeypatch.setattr("lightning_fabric.Fabric.launch", broken)
    expected = r"while all were starting \(Broken pipe\); start the same command again"
    choice = ProcessChoice(devices=2)
    with pytest.raises(RunStoppedError, match=expected), joined(choice, torch.device("cpu"), Command()):
        pass


def test_a_process_alone_waits_for_nobody():
    assert (ALONE.gathered(3), ALONE.gathered_by_first(4), ALONE.of_first(5)) == ([3], [4], 5)
    ALONE.meet()
    ALONE.look()


@pytest.mark.ddp
@pytest.mark.slow
def test_all_learn_of_a_failure_wherever_they_are():
    """The others wait, or are amid long work; afterwards they go on together; an end outranks what is left out."""
    first, second, third = on_processes(processes_that_fail, 3)
    assert first == second == third
    assert first["gathered"] == [0, 10, 20]
    assert first["of_first"] == "from 0"
    assert first["while others wait"] == (1, "one cannot", "curvature")
    assert first["amid long work"] == (2, "two cannot", "panels")
    assert first["several"] == (2, "the end", None)
    assert first["afterwards"] == [0, 1, 2]


@pytest.mark.ddp
@pytest.mark.slow
def test_another_number_of_processes_goes_on_from_the_complete_sweeps(tmp_path):
    """Two are cut in their second sweep; two go on amid it, one and three start it anew and say so."""
    expected, sweeps, _ = dissection_with_journal(0, 1, tmp_path / "alone", None)
    first, second = sorted(set(sweeps))
    for count in (1, 2, 3):
        folder = tmp_path / str(count)
        cut = on_processes(dissection_with_journal, 2, folder, second)
        assert [tables for tables, _, _ in cut] == [None, None]
        assert sorted(path.name for path in folder.iterdir()) == ["state.0", "state.1", "state.merged"]
        runs = on_processes(dissection_with_journal, count, folder, None)
        for tables, sweeps_run, _ in runs:
            assert set(sweeps_run) == {second}, "the first sweep is complete"
            assert repr(tables) == repr(expected)
        assert sum(len(sweeps_run) for _, sweeps_run, _ in runs) == (9 - 2 if count == 2 else 9)
        line = "What an interrupted run left of its last sweep (processes: 2) is of no use now"
        assert [line in " ".join(lines) for _, _, lines in runs] == [count != 2, *[False] * (count - 1)]
        if count == 2:
            assert not list(folder.iterdir())
    assert first == 0
