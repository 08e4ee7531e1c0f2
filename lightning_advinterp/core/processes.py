"""Processes that share one piece of work: what they tell each other, and how all learn that one cannot go on.

Objects travel through main memory by gloo, whatever moves the gradients of a training, so that every exchange is legal
beside NCCL. All processes must make the same exchanges in the same order. One that fails makes its next exchange an
announcement of its failure: whichever exchange the others come to next, they learn of it there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from lightning_advinterp.core.errors import Failure, PeerFailedError, RunStoppedError

LONGEST_WAIT = timedelta(days=7)
"""How long a process waits for another that lives: one may draw for hours what the others need not draw. One that has
ended closes its connections, which shows at once."""

Value = TypeVar("Value")


class Processes:
    """This process among those that share its work; alone, it waits for nobody.

    Args:
        rank: this process's number, from 0.
        size: how many there are.
        store: a ``TCPStore``, where failures are announced to those that are busy; without one they show at the next
            exchange.
        device: on which this process computes; None: as other settings say.
        per_machine: how many of them are on this machine.
    """

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        store: Any = None,
        device: torch.device | None = None,
        per_machine: int = 1,
    ) -> None:
        self.rank, self.size, self.device, self.per_machine = rank, size, device, per_machine
        self._store, self._agreed = store, 0

    @property
    def first(self) -> bool:
        """Whether this process prints, writes and draws for all."""
        return self.rank == 0

    def gathered(self, value: Value) -> list[Value]:
        """Return every process's value, in the order of their numbers.

        Raises:
            PeerFailedError: if another process cannot go on.
            RunStoppedError: if another process is gone.
        """
        if self.size == 1:
            return [value]
        self._meet()
        values: list[Any] = [None] * self.size
        with _connected():
            dist.all_gather_object(values, value, group=_group())
        return values

    def gathered_by_first(self, value: Value) -> list[Value]:
        """Return every process's value to the first process, and nothing to the others; see :meth:`gathered`."""
        if self.size == 1:
            return [value]
        self._meet()
        values: list[Any] | None = [None] * self.size if self.first else None
        with _connected():
            dist.gather_object(value, values, dst=0, group=_group())
        return values or []

    def of_first(self, value: Value) -> Value:
        """Return the first process's value to all; see :meth:`gathered`."""
        if self.size == 1:
            return value
        self._meet()
        values: list[Any] = [value if self.first else None]
        with _connected():
            dist.broadcast_object_list(values, src=0, group=_group())
        return values[0]  # type: ignore[no-any-return]  # what the first process put there

    def meet(self) -> None:
        """Wait until all processes are here; see :meth:`gathered`."""
        if self.size > 1:
            self._meet()

    @contextmanager
    def first_ahead(self) -> Iterator[None]:
        """Let the first process through the block before the others enter it; see :meth:`gathered`."""
        if not self.first:
            self.meet()
        yield
        if self.first:
            self.meet()

    def look(self) -> None:
        """See, amid long work, whether another process has failed; see :meth:`gathered`.

        It costs a question to the first process, and waits for nobody who has not failed.
        """
        if self._store is None:
            return
        with _connected():
            failed = self._store.check([self._key])
        if failed:
            self._meet()

    def agreed(self, failure: Failure) -> Failure:
        """Announce that this process cannot go on, and return the failure that all processes act on.

        Of several failures that is one that ends the command, and of these the lowest process's.

        Raises:
            RunStoppedError: if another process is gone.
        """
        if self.size == 1:
            return failure
        if self._store is not None:
            with _connected():
                self._store.set(self._key, "")
        try:
            self._meet(failure)
        except PeerFailedError as error:
            return error.failure
        return failure

    def _meet(self, failure: Failure | None = None) -> None:
        """Tell the others that this process goes on, or why it cannot."""
        notes: list[Any] = [None] * self.size
        with _connected():
            dist.all_gather_object(notes, failure, group=_group())
        failures: list[Failure] = [note for note in notes if note is not None]
        if failures:
            self._agreed += 1  # what is still announced under the old key is known to all
            raise PeerFailedError(min(failures, key=lambda each: (each.analysis is not None, each.rank)))

    @property
    def _key(self) -> str:
        return f"failure {self._agreed}"


ALONE = Processes()
"""A process that shares its work with nobody."""


def _group() -> dist.ProcessGroup | None:
    """Return a gloo group of all processes; None where that is the default group."""
    return None if dist.get_backend() == "gloo" else _gloo_beside(dist.group.WORLD)


@cache
def _gloo_beside(world: Any) -> Any:
    """Make the group once for all exchanges of a process; all processes come here together."""
    return dist.new_group(backend="gloo", timeout=LONGEST_WAIT)


@contextmanager
def _connected() -> Iterator[None]:
    """Explain that another process is gone, which shows as a broken connection."""
    try:
        yield
    except RuntimeError as error:  # gloo's, and what is derived from it
        raise RunStoppedError(
            "another process of this command has ended without a word (killed, or out of memory?); the same command "
            "goes on from what is saved."
        ) from error
