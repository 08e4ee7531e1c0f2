"""Memory: what a process holds, and what the C library would hand back and fetch again at every step."""

import ctypes
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_LARGE = 2**25
"""Bytes of a tensor that goes back at once: an activation of a batch does, what counting an image takes does not."""


def keep_freed_memory() -> bool:
    """Let glibc keep the memory of freed tensors for the next ones, instead of returning it to the system.

    A training step on a CPU frees and allocates hundreds of megabytes of activations; fresh pages for them cost
    5 to 10 % of its time (``benchmarks/train_step.py --give_back``). The process stays as large as it ever was.

    Returns:
        Whether the C library took the advice; elsewhere than on glibc nothing happens.
    """
    return _advise(threshold=2**30, trim=2**31 - 1)


def give_back_freed_memory(large: int = _LARGE) -> bool:
    """Let glibc return the memory of large freed tensors at once, and keep that of small ones for the next.

    Fresh pages for every tensor cost more than the passes themselves: dissection frees and allocates many thousands of
    tensors of a few MiB for a batch. What small ones leave behind goes back by :func:`return_freed_memory`.

    Args:
        large: bytes from which a tensor is large.

    Returns:
        Whether the C library took the advice.
    """
    return _advise(threshold=large, trim=2 * large)


def return_freed_memory() -> bool:
    """Return to the system, once, what the C library keeps of freed tensors.

    Returns:
        Whether the C library could; elsewhere than on glibc nothing happens.
    """
    trim = _function_of_glibc("malloc_trim")
    return trim is not None and bool(trim(ctypes.c_size_t(0)))


def _advise(threshold: int, trim: int) -> bool:
    mallopt = _function_of_glibc("mallopt")
    return mallopt is not None and bool(mallopt(_MMAP_THRESHOLD, threshold) and mallopt(_TRIM_THRESHOLD, trim))


def _function_of_glibc(name: str) -> Callable[..., int] | None:
    """Return a function of the C library on Linux; None where it has none of that name, as musl."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        function: Callable[..., int] = ctypes.CDLL(None)[name]
    except (AttributeError, OSError):
        return None
    return function


def memory_now(device: torch.device) -> int | None:
    """Return the bytes that this process holds: on a CUDA device its tensors there, else in main memory.

    Returns:
        None where the system does not say.
    """
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return _of_process("VmRSS")


def memory_peak(device: torch.device) -> int | None:
    """Return the most that :func:`memory_now` was since :func:`forget_peak`; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _of_process("VmHWM")


def forget_peak(device: torch.device) -> None:
    """Begin anew to look for the most memory; where the system allows it not, the peak stays that of the process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _of_process(entry: str) -> int | None:
    """Return an entry of Linux's account of this process, in bytes."""
    try:
        account = Path("/proc/self/status").read_text()
    except OSError:
        return None
    match = re.search(rf"^{entry}:\s+(\d+) kB$", account, re.MULTILINE)
    return int(match[1]) * 1024 if match else None
