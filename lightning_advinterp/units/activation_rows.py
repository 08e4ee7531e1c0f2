"""A layer's activations as rows: units at single places of images, in random order and bounded memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_advinterp.core.processes import ALONE, Processes
from lightning_advinterp.core.randomness import mixed_seed, sample_keys, uniform
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.data.loaders import collate_batch
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.networks.network import Network
from lightning_advinterp.units.spaces import UnitLayer

_ORDER, _PLACES, _SHUFFLE = 1, 2, 3


@dataclass(frozen=True)
class ActivationSource:
    """Where rows come from.

    Attributes:
        network: on its device.
        unit: the layer.
        images: that pass the network.
        places: so many places of each image, drawn anew in every epoch; all, where there are no more.
        batch_size: images at a time.
        seed: of order and places.
        processes: pass one batch each in turn, and all of them have all rows, in the same order as one process alone.
    """

    network: Network
    unit: UnitLayer
    images: ImageSet
    places: int = 64
    batch_size: int = 64
    seed: int = 0
    processes: Processes = ALONE

    def epoch(self, number: int) -> Iterator[Tensor]:
        """Yield the rows of all images, float32 ``[N, U]`` for each batch of images.

        Args:
            number: of the epoch: others have another order, and other places.
        """
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, _ORDER, number))
        order = torch.randperm(len(self.images), generator=generator).tolist()
        batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        if self.processes.size == 1:
            for batch in batches:
                if (rows := self._of(batch, number)) is not None:
                    yield rows
            return
        for start in range(0, len(batches), self.processes.size):
            position = start + self.processes.rank
            rows = self._of(batches[position], number) if position < len(batches) else None
            # Main memory: so the exchange is legal whatever the devices are.
            for part in self.processes.gathered(None if rows is None else rows.cpu()):
                if part is not None:
                    yield part.to(self._device)

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters(), torch.zeros(())).device

    def _of(self, positions: Sequence[int], epoch: int) -> Tensor | None:
        """Return the rows of these images, ``[N, U]``; None if none of them can be read."""
        samples = self.images.readable(positions)
        if not samples:
            return None
        batch = collate_batch(samples).to_float()
        with torch.no_grad(), frozen_eval(self.network):
            output = self.network.forward_features(batch.image.to(self._device), (self.unit.tap,))[1][self.unit.tap]
        return self._rows(self.unit.maps(output), batch.index.to(self._device), epoch)

    def _rows(self, maps: Tensor, index: Tensor, epoch: int) -> Tensor:
        rows = maps.flatten(2).transpose(1, 2).float()  # [B, places, U]
        if rows.shape[1] > self.places:
            keys = sample_keys(index, seed=mixed_seed(self.seed, _PLACES), epoch=epoch)
            drawn = uniform(keys, (rows.shape[1],)).argsort(1)[:, : self.places]
            rows = rows.gather(1, drawn[..., None].expand(-1, -1, rows.shape[2]))
        return rows.flatten(0, 1)


class ShuffledRows:
    """Batches of rows in random order, from a buffer that is filled anew by halves.

    Rows of one image are alike; a buffer of many images' rows mixes them. Where the rows of all images fit into the
    buffer, the images pass the network once, and their rows stay.

    Args:
        source: of the rows.
        capacity: so many rows are held, and half as many while the buffer is filled anew: memory is at most
            1.5 × capacity × U × 4 bytes, whatever the number of images.
        seed: of the order.

    Attributes:
        rows: what the buffer holds, ``[N, U]``.
        complete: whether these are the rows of all images.
    """

    def __init__(self, source: ActivationSource, capacity: int, seed: int = 0) -> None:
        if capacity < 2:
            raise ValueError(f"the buffer must hold 2 rows or more, got {capacity}; give a larger --buffer_mb.")
        self.source, self.seed = source, seed
        self._epochs = 0
        self._chunks = source.epoch(0)
        self._rest = next(self._chunks, None)
        if self._rest is None:
            raise ValueError("data: none of the images can be read, and there is nothing to train on.")
        buffer = self._rest.new_empty(capacity, self._rest.shape[1])
        count = self._fill(buffer, further_epochs=False)
        self.complete = count < capacity or not self._more()
        self.rows = buffer[:count]

    def batches(self, size: int, steps: int) -> Iterator[Tensor]:
        """Yield so many batches of ``size`` rows, smaller ones where the buffer holds fewer."""
        buffer, generator = self.rows, torch.Generator().manual_seed(mixed_seed(self.seed, _SHUFFLE))
        size = min(size, len(buffer) if self.complete else max(1, len(buffer) // 2))
        done = 0
        while done < steps:
            order = torch.randperm(len(buffer), generator=generator).to(buffer.device)
            # Whole batches alone: a row that is not given out stays in the buffer.
            used = (len(buffer) if self.complete else len(buffer) // 2) // size * size
            for start in range(0, used, size)[: steps - done]:
                yield buffer[order[start : start + size]]
                done += 1
            if not self.complete and done < steps:
                fresh = buffer.new_empty(used, buffer.shape[1])
                self._fill(fresh, further_epochs=True)
                buffer[order[:used]] = fresh

    def _fill(self, rows: Tensor, *, further_epochs: bool) -> int:
        """Write the next rows into a tensor, and return how many there were.

        Args:
            rows: ``[N, U]``.
            further_epochs: begin the next epoch where one ends; else stop there.
        """
        count = 0
        while count < len(rows) and (self._more() or further_epochs):
            if self._rest is None:
                self._epochs += 1
                self._chunks = self.source.epoch(self._epochs)
                continue
            part = self._rest[: len(rows) - count]
            rows[count : count + len(part)] = part
            self._rest = self._rest[len(part) :] if len(part) < len(self._rest) else None
            count += len(part)
        return count

    def _more(self) -> bool:
        """Whether the epoch has further rows."""
        if self._rest is None:
            self._rest = next(self._chunks, None)
        return self._rest is not None
