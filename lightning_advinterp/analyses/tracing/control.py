"""Units and images that are compared with those that are named: as active, and as sure."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lightning_advinterp.core.randomness import uniform

_NEIGHBOURS = 10
"""A control unit is drawn from so many units whose activation is nearest."""
_STREAM = 0x616C696B  # "alik"


def alike_units(activation: Tensor, named: Sequence[int], key: Tensor) -> list[int]:
    """Draw for each named unit another one of about the same activation on the image, which is not named.

    Args:
        activation: ``[U]``.
        named: units.
        key: int64 ``[]``, of the image's random draws.

    Returns:
        As many units, all different; fewer where a layer has too few.
    """
    free = [unit for unit in range(len(activation)) if unit not in set(named)]
    draws = uniform(key.reshape(1).cpu(), (max(1, len(named)),), stream=_STREAM)[0].tolist()
    values = activation.tolist()
    control: list[int] = []
    for unit, draw in zip(named, draws, strict=False):
        near = sorted(free, key=lambda candidate: (abs(values[candidate] - values[unit]), candidate))[:_NEIGHBOURS]
        if not near:
            break
        control.append(near[min(int(draw * len(near)), len(near) - 1)])
        free.remove(control[-1])
    return control


def matched_images(errors: Sequence[int], right: Sequence[int], confidence: Mapping[int, float]) -> dict[int, int]:
    """Return for each error the image that the network gets right and is as sure of, each at most once.

    Args:
        errors: numbers of images, the first served first.
        right: likewise.
        confidence: by number.

    Returns:
        Error to match; errors without one are absent.
    """
    free = dict.fromkeys(sorted(right))
    matches: dict[int, int] = {}
    for error in errors:
        if not free:
            break
        best = min(free, key=lambda number: (abs(confidence[number] - confidence[error]), number))
        matches[error] = best
        del free[best]
    return matches


def positive_weights(differences: Tensor, units: Sequence[int]) -> Tensor:
    """Return the weights of named units by their differences, summing to 1."""
    values = differences[list(units)]
    weights: Tensor = values / values.sum() if len(units) else torch.zeros(0)
    return weights
