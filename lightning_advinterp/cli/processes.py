"""The processes of a command, by Lightning Fabric: started by this one, by ``torchrun`` or by SLURM."""

import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # re-exported without saying so

from lightning_advinterp.core.devices import choose_device
from lightning_advinterp.core.errors import Command, Failure, RunStoppedError
from lightning_advinterp.core.processes import LONGEST_WAIT, Processes

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Count = int | Literal["auto"]
_SHELLS = ("bash", "interactive")
"""Names of SLURM's jobs in which Lightning starts the processes itself."""


@dataclass(frozen=True)
class ProcessChoice:
    """On how many devices a command runs, one process each.

    Attributes:
        devices: processes on each machine, one per device; auto: those that torchrun or srun started, else one.
        num_nodes: machines; auto: those that torchrun or srun uses, else one.
        strategy: how several processes share the work; ddp and auto are the same: each looks at its share of the
            images.
        accelerator: kind of the devices; auto: that of device.
    """

    devices: Count = "auto"
    num_nodes: Count = "auto"
    strategy: Literal["auto", "ddp"] = "auto"
    accelerator: Literal["auto", "cpu", "gpu", "cuda"] = "auto"


FLAGS = tuple(entry.name for entry in fields(ProcessChoice))
"""Flags that say how many processes do the work; no number depends on them."""


def process_counts(choice: ProcessChoice, environment: Mapping[str, str]) -> tuple[int, int]:
    """Return how many processes there are on each machine, and how many machines.

    Args:
        choice: what the user says.
        environment: variables of this process, by which torchrun and srun say how many they started.

    Raises:
        ValueError: naming the flag, if it differs from what started this process.
    """
    for flag, number in (("devices", choice.devices), ("num_nodes", choice.num_nodes)):
        if number != "auto" and number < 1:
            raise ValueError(f"{flag} must be auto, or 1 or more, got {number}.")
    started = processes_started(environment)
    if started is None:
        return 1 if choice.devices == "auto" else choice.devices, 1 if choice.num_nodes == "auto" else choice.num_nodes
    by, (per_machine, nodes) = started
    if choice.devices not in ("auto", per_machine):
        raise ValueError(
            f"devices: {by} started {per_machine} on each machine, got {choice.devices}; let it start as many, or "
            "leave the flag out."
        )
    if choice.num_nodes not in ("auto", nodes):
        raise ValueError(f"num_nodes: {by} uses {nodes}, got {choice.num_nodes}; leave the flag out.")
    return per_machine, nodes


def require_processes(choice: ProcessChoice, size: int, dry_run: bool = False) -> None:
    """Refuse flags that ask for more processes than there are.

    Args:
        choice: the flags.
        size: processes that there are.
        dry_run: whether nothing is done, for which one process is enough.

    Raises:
        ValueError: naming the flag.
    """
    counts = {"devices": choice.devices, "num_nodes": choice.num_nodes}
    for flag, number in counts.items():
        if number not in ("auto", 1) and size == 1 and not dry_run:
            raise ValueError(
                f"{flag}={number}: here one process does the work; the command evaluate.py starts several, or leave "
                f"{flag} out."
            )


def processes_started(environment: Mapping[str, str]) -> tuple[str, tuple[int, int]] | None:
    """Return what started several processes, how many on each machine, and on how many machines; None: nothing did.

    Args:
        environment: variables of this process.

    Raises:
        ValueError: if the processes are not as many on each machine.
    """
    if "TORCHELASTIC_RUN_ID" in environment:
        by, everywhere, per_machine = "torchrun", int(environment["WORLD_SIZE"]), int(environment["LOCAL_WORLD_SIZE"])
        nodes = everywhere // per_machine
    # A step's variables are srun's; a job's are there in its batch script and its shell too, which are one process.
    elif "SLURM_STEP_NUM_TASKS" in environment and environment.get("SLURM_JOB_NAME") not in _SHELLS:
        by, everywhere = "srun", int(environment["SLURM_STEP_NUM_TASKS"])
        nodes = int(environment.get("SLURM_STEP_NUM_NODES", environment.get("SLURM_NNODES", "1")))
        per_machine = everywhere // nodes
    else:
        return None
    if per_machine * nodes != everywhere:
        raise ValueError(f"devices: {by} started {everywhere} processes on {nodes} machines; start as many on each.")
    return by, (per_machine, nodes)


@contextmanager
def one_speaks(command: Command) -> Iterator[None]:
    """Let nothing be printed while all processes read the same command line, but by the first.

    Args:
        command: learns whether this process speaks.
    """
    numbers = (os.environ.get(name) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))
    command.first = int(next((number for number in numbers if number is not None), 0)) == 0
    with ExitStack() as stack:
        if not command.first:
            stack.enter_context(redirect_stdout(io.StringIO()))
            stack.enter_context(redirect_stderr(io.StringIO()))
        yield


def device_of(choice: ProcessChoice, name: str) -> torch.device:
    """Return the kind of device that is asked for; on one process the device itself.

    Args:
        choice: its accelerator.
        name: the flag ``device``.

    Raises:
        ValueError: if they contradict each other, or there is none.
    """
    kind = "cuda" if choice.accelerator == "gpu" else choice.accelerator
    device = choose_device(kind if name == "auto" else name)
    if kind not in ("auto", device.type):
        raise ValueError(f"accelerator={choice.accelerator} contradicts device={name}; leave one of them out.")
    return device


@contextmanager
def joined(choice: ProcessChoice, device: torch.device, command: Command) -> Iterator[Processes]:
    """Start the other processes where that is this one's task, join them, and wait for all at the end.

    Args:
        choice: how many.
        device: of :func:`device_of`.
        command: learns how to tell the others that this process ends.

    Yields:
        This process among the others, with its device.

    Raises:
        ValueError: if there are not so many devices.
        RunStoppedError: if another process ends before all are joined.
    """
    per_machine, nodes = process_counts(choice, os.environ)
    if per_machine * nodes == 1:
        yield Processes(device=device)
        return
    if ":" in str(device):
        raise ValueError(
            f"device={device} is one device, and {per_machine * nodes} processes have one each; say cuda or cpu."
        )
    try:
        fabric = _launched(per_machine, nodes, device)
        store = _store(fabric)
    except dist.DistError as error:  # one that was killed while all were starting shows as a broken connection
        raise RunStoppedError(
            f"another process of this command ended while all were starting ({error}); start the same command again."
        ) from error
    processes = Processes(fabric.global_rank, fabric.world_size, store, fabric.device, per_machine)
    command.first = processes.first

    def announce(line: str, status: int) -> None:
        with suppress(RunStoppedError):  # the others are gone already
            processes.agreed(Failure(processes.rank, line, status))

    command.announce = announce
    if not processes.first:
        logging.disable(logging.WARNING)
        warnings.simplefilter("ignore")
    yield processes
    processes.meet()
    command.announce = None
    dist.destroy_process_group()


def _launched(per_machine: int, nodes: int, device: torch.device) -> "Fabric":
    """Return Fabric with its processes; nothing here needs gradients of several processes, so gloo joins them."""
    # Fabric loads torchmetrics, and that scipy.signal: a second of processor time that one process alone does not need.
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    # Each process would print its number; one that a launcher ends is told of elsewhere.
    logging.getLogger("lightning_fabric.utilities.distributed").setLevel(logging.WARNING)
    strategy = DDPStrategy(process_group_backend="gloo", timeout=LONGEST_WAIT)
    try:
        fabric = Fabric(accelerator=device.type, strategy=strategy, devices=per_machine, num_nodes=nodes)
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"devices: {per_machine} of the kind {device.type} cannot be had here: {reason}") from error
    fabric.launch()
    if fabric.world_size != per_machine * nodes:
        raise ValueError(
            f"devices: {per_machine} on {nodes} machines are asked for, {fabric.world_size} were started; under SLURM "
            f"start the command by srun with --ntasks-per-node={per_machine}."
        )
    return fabric


def _store(fabric: "Fabric") -> Any:
    """Return where failures are announced: with the first process, by a port that this tells the others."""
    first = fabric.global_rank == 0
    environment = fabric.strategy.cluster_environment  # type: ignore[attr-defined]  # strategies of several processes
    address: str = environment.main_address
    store: Any = TCPStore(address, 0, is_master=True, wait_for_workers=False) if first else None
    port: int = fabric.broadcast(store.port if first else 0)
    return store if first else TCPStore(address, port, is_master=False, wait_for_workers=False)
