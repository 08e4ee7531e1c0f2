"""Random rotations of a layer's units."""

import torch
from torch import Tensor

from lightning_advinterp.core.randomness import mixed_seed

_ROTATION = 3


def rotation(units: int, seed: int, place: int, like: Tensor) -> Tensor:
    """Return a random rotation of a layer's units, orthogonal ``[U, U]``, evenly distributed.

    The control of Bau et al. 2017, section 4.2: a rotated basis spans the same space, but not along its units.

    Args:
        units: U.
        seed: draws it.
        place: the layer's number, so that layers differ.
        like: its type and device are taken.
    """
    generator = torch.Generator().manual_seed(mixed_seed(seed, _ROTATION, place))
    # QR of a Gaussian matrix, with the signs that make it unique (Mezzadri 2007).
    q, r = torch.linalg.qr(torch.randn(units, units, generator=generator, dtype=torch.float64))
    turn: Tensor = q * r.diagonal().sign()
    return turn.to(like.device, like.dtype)
