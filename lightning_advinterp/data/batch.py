"""The one batch that every part of the framework passes on."""

from typing import NamedTuple

import torch
from torch import Tensor


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

    def to_float(self) -> "Batch":
        """Return the batch with its images as float32 in [0, 1] (unchanged where they are floats)."""
        if self.image.dtype == torch.uint8:
            return self._replace(image=self.image.float().div_(255))
        return self
