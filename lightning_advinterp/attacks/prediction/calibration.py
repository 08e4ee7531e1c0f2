"""The weight λ of an optimisation attack, chosen per network: the smallest with enough success."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.randomness import sample_keys

GRID = tuple(10.0**exponent for exponent in range(-4, 6))
"""λ by decades, 1e-4 … 1e5."""

WANTED = 0.95
"""Success that makes a λ good enough."""


@dataclass(frozen=True)
class Trial:
    """What one λ gave.

    Attributes:
        weight: λ.
        success: share of the images predicted as the attack wanted.
        l2: mean ‖x* − x‖₂ in 0–255 units.
        linf: mean ‖x* − x‖∞ in 0–255 units.
    """

    weight: float
    success: float
    l2: float
    linf: float


@dataclass(frozen=True)
class Calibration:
    """The λ chosen, and why.

    Attributes:
        weight: λ.
        success: its share of success on the images of the calibration.
        reached: whether that is the share wanted.
        images: how many images it was tried on.
        trials: all λ tried, in order.
    """

    weight: float
    success: float
    reached: bool
    images: int
    trials: tuple[Trial, ...]

    def __str__(self) -> str:
        chosen = next(trial for trial in self.trials if trial.weight == self.weight)
        text = (
            f"λ = {self.weight:g}: success {100 * self.success:.1f} % on {self.images} other images, "
            f"mean L2 {chosen.l2:.0f} and L∞ {chosen.linf:.1f} of 255"
        )
        return text if self.reached else f"{text} (the most success of all λ tried, but not enough)"


def calibrate(
    attack: Attack,
    network: nn.Module,
    x: Tensor,
    y: Tensor | None = None,
    *,
    target: Tensor | None = None,
    keys: Tensor | None = None,
    grid: Sequence[float] = GRID,
    wanted: float = WANTED,
    batch_size: int = 64,
) -> Calibration:
    """Try λ from the smallest on and stop at the first with enough success; where none has, take the most successful.

    Two networks need different λ for the same success (a robust one by far a larger), so they are compared at equal
    success, or at equal distance, never at equal λ. The images must be others than those reported on.

    Args:
        attack: whose ``weight`` is looked for.
        network: images to logits.
        x: ``[N, C, H, W]`` in [0, 1].
        y: int64 ``[N]``, true labels, where the attack needs them.
        target: int64 ``[N]``, classes to aim at; None: the attack's own rule.
        keys: int64 ``[N]``, see :func:`~lightning_advinterp.core.randomness.sample_keys`; an image's place by default.
        grid: the λ to try.
        wanted: share of success, in (0, 1].
        batch_size: images at a time.

    Raises:
        ValueError: without images or λ, or for a share out of range.
    """
    if len(x) == 0:
        raise ValueError("x must hold at least one image to calibrate on, got none.")
    if not grid:
        raise ValueError("grid must hold at least one weight, got none.")
    if not 0 < wanted <= 1:
        raise ValueError(f"wanted must be a share in (0, 1], got {wanted}.")
    keys = sample_keys(torch.arange(len(x), device=x.device)) if keys is None else keys
    trials: list[Trial] = []
    for weight in sorted(grid):
        trials.append(_try(attack.weighted(weight), weight, network, x, (y, target), keys, batch_size))
        if trials[-1].success >= wanted:
            break
    best = max(trials, key=lambda trial: trial.success)  # the first, so the smallest, of equals
    reached = best.success >= wanted
    if not reached:
        warnings.warn(
            f"{attack.name}: no weight from {min(grid):g} to {max(grid):g} reaches {100 * wanted:.0f} % success on "
            f"{len(x)} images; the most, {100 * best.success:.1f} %, is at {best.weight:g}, which is taken. "
            "More steps, or a larger eps where one is set, may reach it.",
            stacklevel=2,
        )
    return Calibration(best.weight, best.success, reached, len(x), tuple(trials))


def _try(
    attack: Attack,
    weight: float,
    network: nn.Module,
    x: Tensor,
    classes: tuple[Tensor | None, Tensor | None],
    keys: Tensor,
    batch_size: int,
) -> Trial:
    success = l2 = linf = 0.0
    for first in range(0, len(x), batch_size):
        part = slice(first, first + batch_size)
        y, target = (None if each is None else each[part] for each in classes)
        result = attack.run(network, x[part], y, target=target, keys=keys[part])
        success += float(result.success.sum())
        l2 += 255 * float(result.l2.double().sum())
        linf += 255 * float(result.linf.double().sum())
    return Trial(weight, success / len(x), l2 / len(x), linf / len(x))
