"""Random draws that belong to a sample, not to a batch, a process or a moment.

Every draw is a pure function of an int64 *key* and the position of the value in the sample
(a counter-based generator). A sample therefore gets the same perturbation whatever batch, process,
device or resumed run it appears in, and the global generator is never touched.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_MASK = (1 << 64) - 1


def _signed(value: int) -> int:
    """Two's complement: torch has no full uint64 arithmetic, and int64 products wrap alike."""
    return value - (1 << 64) if value >> 63 else value


_GOLDEN, _MIX1, _MIX2 = (_signed(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _shift_right(value: Tensor, bits: int) -> Tensor:
    """Logical (not arithmetic) right shift of int64."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _finalise(state: Tensor) -> Tensor:
    """The output function of SplitMix64 (Steele, Lea, Flood 2014)."""
    state = (state ^ _shift_right(state, 30)) * _MIX1
    state = (state ^ _shift_right(state, 27)) * _MIX2
    return state ^ _shift_right(state, 31)


def mix(keys: Tensor, *values: int | Tensor) -> Tensor:
    """Derive new keys from ``keys`` and further numbers.

    Args:
        keys: int64 ``[B]``.
        values: integers, or int64 tensors ``[B]``.

    Returns:
        int64 ``[B]``.
    """
    for value in values:
        keys = _finalise(keys + _GOLDEN) ^ value
    return _finalise(keys + _GOLDEN)


def mixed_seed(*values: int) -> int:
    """Mix integers into one well-spread 63-bit seed, for generators that take one.

    Example:
        >>> mixed_seed(0, 1) == mixed_seed(0, 1) != mixed_seed(1, 0)
        True
    """
    state = 0
    for value in values:
        state = ((state ^ (value & _MASK)) + _GOLDEN) & _MASK
        state = ((state ^ (state >> 30)) * _MIX1) & _MASK
        state = ((state ^ (state >> 27)) * _MIX2) & _MASK
        state ^= state >> 31
    return state >> 1


def mixed_seeds(*values: int | Tensor) -> Tensor:
    """Return :func:`mixed_seed` of each sample, computed on the samples' device.

    Args:
        values: integers, and at least one int64 tensor ``[B]``.

    Returns:
        int64 ``[B]``.

    Example:
        >>> mixed_seeds(7, torch.tensor([3, 5])).tolist() == [mixed_seed(7, 3), mixed_seed(7, 5)]
        True
    """
    state = torch.zeros_like(next(value for value in values if isinstance(value, Tensor)))
    for value in values:
        state = _finalise((state ^ value) + _GOLDEN)
    return _shift_right(state, 1)


def sample_keys(index: Tensor, *, seed: int = 0, epoch: int = 0, restart: int = 0) -> Tensor:
    """Return the key of every sample: a mix of (seed, epoch, index, restart).

    Args:
        index: int64 ``[B]``, the samples' numbers in their data set.
        seed: the run's seed.
        epoch: the epoch, so that every epoch draws anew.
        restart: the restart of an attack that has several.

    Returns:
        int64 ``[B]`` on the device of ``index``.
    """
    return mix(torch.zeros_like(index), seed, epoch, index, restart)


def uniform(keys: Tensor, shape: Sequence[int], *, stream: int = 0) -> Tensor:
    """Draw uniformly from [0, 1).

    Args:
        keys: int64 ``[B]``.
        shape: shape of one sample's draw.
        stream: different streams of a key are independent.

    Returns:
        float32 ``[B, *shape]``, multiples of 2⁻²⁴.
    """
    counter = torch.arange(1, math.prod(shape) + 1, device=keys.device)
    bits = _finalise(mix(keys, stream)[:, None] + counter * _GOLDEN)
    return (_shift_right(bits, 40).float() * 2.0**-24).view(len(keys), *shape)


def normal(keys: Tensor, shape: Sequence[int], *, stream: int = 0) -> Tensor:
    """Draw from the standard normal distribution, by the inverse of its distribution function.

    Args:
        keys: int64 ``[B]``.
        shape: shape of one sample's draw.
        stream: different streams of a key are independent.

    Returns:
        float32 ``[B, *shape]``, within ±5.5.
    """
    # Half a grid step up keeps the argument inside (0, 1), where the inverse is finite.
    draw: Tensor = torch.special.ndtri(uniform(keys, shape, stream=stream) * (1 - 2.0**-24) + 2.0**-25)
    return draw
