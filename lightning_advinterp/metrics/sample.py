"""A random sample of a stream, the same whatever the batches and processes."""

from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.core.randomness import sample_keys


class ImageSample:
    """At most ``capacity`` images of a stream, with whatever belongs to each of them.

    An image's own random number, a function of (seed, image number), decides whether it stays: the smallest do. So
    the sample is uniform, and any division of the stream gives the same one.

    Args:
        capacity: number of images.
        seed: of the choice.
    """

    def __init__(self, capacity: int, seed: int = 0) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be 1 or more images, got {capacity}.")
        self.capacity, self.seed = capacity, seed
        self._draws = torch.empty(0, dtype=torch.int64)
        self._index = torch.empty(0, dtype=torch.int64)
        self._fields: dict[str, Tensor] = {}

    def update(self, index: Tensor, fields: dict[str, Tensor]) -> None:
        """Take in a batch: image numbers, int64 ``[B]``, and tensors ``[B, ...]`` that belong to them."""
        index = index.cpu()
        draws = sample_keys(index, seed=self.seed)
        if len(self._draws) == self.capacity:  # most batches of a long stream bring little
            smaller = draws < self._draws.max()
            index, draws = index[smaller], draws[smaller]
            fields = {name: values[smaller.to(values.device)] for name, values in fields.items()}
        if len(index):
            self._insert(draws, index, {name: values.cpu() for name, values in fields.items()})

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's :meth:`state_dict`."""
        if len(state["index"]):
            self._insert(sample_keys(state["index"], seed=self.seed), state["index"], state["fields"])

    def fields(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the image numbers, rising, and what belongs to them."""
        order = self._index.argsort()
        return self._index[order], {name: values[order] for name, values in self._fields.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the sample."""
        return {"index": self._index.clone(), "fields": {name: v.clone() for name, v in self._fields.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the sample."""
        self._index, self._fields = state["index"].clone(), {n: v.clone() for n, v in state["fields"].items()}
        self._draws = sample_keys(self._index, seed=self.seed)

    def _insert(self, draws: Tensor, index: Tensor, fields: dict[str, Tensor]) -> None:
        have = len(self._draws)
        both = torch.cat([self._draws, draws])
        # A stable sort of (draw, image number) pairs: draws are 64-bit mixes, equal ones are all but impossible.
        stay = both.argsort(stable=True)[: self.capacity]
        arrived = stay[stay >= have]
        if have < self.capacity:  # still growing
            if have:
                fields = {name: torch.cat([values, fields[name]]) for name, values in self._fields.items()}
            self._fields = {name: values[stay] for name, values in fields.items()}
            self._draws, self._index = both[stay], torch.cat([self._index, index])[stay]
            return
        gone = torch.ones(have, dtype=torch.bool)
        gone[stay[stay < have]] = False
        slots = gone.nonzero().squeeze(1)  # in place: the sample may be large, and few are exchanged
        self._draws[slots], self._index[slots] = both[arrived], index[arrived - have]
        for name, values in self._fields.items():
            values[slots] = fields[name][arrived - have]
