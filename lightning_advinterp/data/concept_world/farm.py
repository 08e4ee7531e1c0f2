"""Rendering of many pictures, on several cores where that is worth it.

As a program (``python -m lightning_advinterp.data.concept_world.farm START STOP SEED SIZE``) it writes the
raw bytes of pictures START to STOP to its standard output. The helpers are such programs rather than members
of a ``multiprocessing`` pool: a forked copy of a process with running threads (torch's) may hang, and a
spawned one runs the user's script again where it has no main guard.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from lightning_advinterp.data.concept_world.rendering import render_image

Images = NDArray[np.uint8]

_CHUNK = 250
# A helper first starts an interpreter: with less work than this (pixels) one core is about as fast.
_WORTH_HELP = 2000 * 64 * 64


def render_span(start: int, stop: int, *, seed: int, size: int) -> Images:
    """Render pictures ``start`` to ``stop`` (excluded): uint8 ``[stop - start, 3, size, size]``."""
    images = np.empty((stop - start, 3, size, size), np.uint8)
    for k in range(start, stop):
        images[k - start] = render_image(k, seed=seed, size=size).transpose(2, 0, 1)
    return images


def render_spans(
    start: int, stop: int, *, seed: int, size: int, progress: bool = False, workers: int | None = None
) -> Iterator[tuple[int, Images]]:
    """Render pictures ``start`` to ``stop`` (excluded) in pieces; the bytes do not depend on ``workers``.

    Args:
        start: first picture.
        stop: end of the range.
        seed: number of the world.
        size: width and height in pixels.
        progress: show a progress bar.
        workers: processes; None: the cores this process may use where there is enough work, else this
            process alone.

    Yields:
        Number of the first picture of a piece, and the piece, uint8 ``[n, 3, size, size]``.
    """
    if workers is None:
        workers = _usable_cores() if (stop - start) * size * size >= _WORTH_HELP else 1
    pieces = _render_helped if workers > 1 else _render_alone
    with Progress(transient=True, disable=not progress) as bar:
        task = bar.add_task("rendering the concept world", total=stop - start)
        for first, images in pieces(start, stop, seed, size, workers):
            yield first, images
            bar.advance(task, len(images))


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _render_alone(start: int, stop: int, seed: int, size: int, workers: int) -> Iterator[tuple[int, Images]]:
    for first in range(start, stop, _CHUNK):
        yield first, render_span(first, min(first + _CHUNK, stop), seed=seed, size=size)


def _render_helped(start: int, stop: int, seed: int, size: int, workers: int) -> Iterator[tuple[int, Images]]:
    """Split the range evenly among helpers and read their pipes one after the other.

    A helper whose pipe is not read yet is held up by the pipe's small buffer only after it has rendered; so
    each one keeps its whole share in memory and writes it at its end.
    """
    bounds = [start + (stop - start) * k // workers for k in range(workers + 1)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with ExitStack() as stack:
        helpers = []
        for first, last in pairwise(bounds):
            command = [sys.executable, "-m", __spec__.name, str(first), str(last), str(seed), str(size)]
            helper = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, env=environment))
            stack.callback(helper.kill)  # runs before the wait of Popen's own exit; harmless where it has ended
            helpers.append((first, last, helper))
        for first, last, helper in helpers:
            data, _ = helper.communicate()
            shape = (last - first, 3, size, size)
            if helper.returncode or len(data) != int(np.prod(shape)):
                # A helper can be refused memory or a process; the pictures are the same when made here.
                yield from _render_alone(first, last, seed, size, 1)
            else:
                yield first, np.frombuffer(data, np.uint8).reshape(shape)


def _main() -> None:
    start, stop, seed, size = (int(argument) for argument in sys.argv[1:])
    sys.stdout.buffer.write(render_span(start, stop, seed=seed, size=size).tobytes())


if __name__ == "__main__":
    _main()
