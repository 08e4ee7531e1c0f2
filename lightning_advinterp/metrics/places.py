"""Places in large tensors, by numpy on a CPU, where it is several times as fast as torch and gives the same."""

import numpy as np
import torch
from torch import Tensor


def true_places(mask: Tensor) -> Tensor:
    """Return where a mask, bool ``[N]``, is true, int64, rising."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.nonzero().squeeze(1)


def kth_largest(values: Tensor, k: int) -> Tensor:
    """Return the k-th largest number of every row, ``[U, N] -> [U]``; k counts from 1."""
    place = values.shape[1] - k
    if values.device.type == "cpu":
        return torch.from_numpy(np.partition(values.numpy(), place, axis=1)[:, place].copy())
    return values.kthvalue(place + 1, dim=1).values
