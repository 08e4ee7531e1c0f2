"""Memory that the C library would otherwise hand back and fetch again at every step."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Let glibc keep the memory of freed tensors for the next ones, instead of returning it to the system.

    A training step on a CPU frees and allocates hundreds of megabytes of activations; fresh pages for them cost
    5 to 10 % of its time (``benchmarks/train_step.py --give_back``). The process stays as large as it ever was.

    Returns:
        Whether the C library took the advice; elsewhere than on glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl has no such function
        return False
    return bool(mallopt(_MMAP_THRESHOLD, 2**30) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
