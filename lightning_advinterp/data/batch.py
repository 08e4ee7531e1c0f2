"""The one batch that every part of the framework passes on."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_advinterp.core.errors import RunStoppedError


def check_range(labels: Tensor, outputs: int) -> None:
    """Refuse labels that are no outputs of the network, while they are on the CPU, where looking costs nothing.

    Raises:
        RunStoppedError: naming the wrong labels.
    """
    if labels.numel() and (int(labels.min()) < 0 or int(labels.max()) >= outputs):
        wrong = sorted(set(labels[(labels < 0) | (labels >= outputs)].tolist()))
        raise RunStoppedError(
            f"labels must be 0 to {outputs - 1}, since the network has {outputs} outputs, but the data hold "
            f"{', '.join(map(str, wrong[:5]))}; correct the labels, or give the network as many outputs as classes"
        )


class Batch(NamedTuple):
    """Images, their labels, and their places in the data set.

    Attributes:
        image: ``[B, 3, H, W]``, float in [0, 1], or uint8 in 0–255 on its way to the device.
        label: int64 ``[B]``, class indices.
        index: int64 ``[B]``, the samples' numbers in the data set; random draws derive from them.
    """

    image: Tensor
    label: Tensor
    index: Tensor  # type: ignore[assignment]  # a tuple has a method of that name

    @classmethod
    def of(cls, batch: Any, *, indexed: bool = False) -> "Batch":
        """Return what a loader gave as a batch.

        Args:
            batch: a batch, or a tuple or list of images, labels and indices. Missing labels and indices become -1; a
                tensor alone holds images.
            indexed: refuse a batch without indices, from which random draws derive in training.

        Raises:
            ValueError: if it is anything else.
        """
        fields = [batch] if isinstance(batch, Tensor) else list(batch) if isinstance(batch, tuple | list) else []
        if not (3 if indexed else 1) <= len(fields) <= 3 or not all(isinstance(field, Tensor) for field in fields):
            kind = type(batch).__name__
            remedy = (
                "; give a plain DataLoader of pairs, which are numbered, or a UserImagesDataModule" if indexed else ""
            )
            raise ValueError(
                "a batch must be images, labels and their indices in the data set"
                f"{'' if indexed else ' (or fewer of these)'}, got a {kind} of {len(fields)}{remedy}."
            )
        unknown = torch.full((len(fields[0]),), -1, device=fields[0].device)
        return cls(*fields, *[unknown] * (3 - len(fields)))

    @property
    def index_on_host(self) -> Tensor:
        """The indices on the CPU, where the transfer left a copy there: reading them does not wait for the device."""
        copy: Tensor = getattr(self.index, "on_host", self.index)
        return copy

    def keeping(self, index_on_host: Tensor | None) -> "Batch":
        """Remember a copy of the indices that stayed on the CPU; None: there is none."""
        if index_on_host is not None and index_on_host.device.type == "cpu" != self.index.device.type:
            self.index.on_host = index_on_host  # type: ignore[attr-defined]
        return self

    def to_float(self) -> "Batch":
        """Return the batch with its images as float32 in [0, 1] (unchanged where they are floats)."""
        if self.image.dtype == torch.uint8:
            return self._replace(image=self.image.float().div_(255))
        return self
