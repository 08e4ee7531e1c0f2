"""How far an attack may go: one ε for all samples, or one drawn for each of them."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from lightning_advinterp.core.randomness import uniform

Distribution = Literal["uniform", "truncated_normal"]
_EPS_STREAM = 0x657073  # "eps": keeps the draw of ε independent of the draw of the start


def parse_pixels(value: float | str, argument: str = "eps", *, most: float | None = 1.0) -> float:
    """Read a distance in pixel space: a fraction of the [0, 1] range, or a string such as ``"4/255"``.

    Args:
        value: the number or the string.
        argument: the argument's name, for the error message.
        most: the largest value that makes sense; ``None`` for norms that exceed 1, such as L2.

    Raises:
        ValueError: if the value is not a number, is negative, or is so large that 0–255 units are meant.
    """
    try:
        if isinstance(value, str):
            numerator, _, denominator = value.partition("/")
            number = float(numerator) / float(denominator or 1)
        else:
            number = float(value)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f'{argument} must be a number or a string such as "4/255", got {value!r}.') from None
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{argument} must be a finite number, 0 or more, got {value!r}.")
    if most is not None and number > most:
        raise ValueError(
            f"{argument} is a fraction of the [0, 1] pixel range and must be at most {most:g}, got {value!r}; "
            f'in 0-255 units write "{number:g}/255".'
        )
    return number


@dataclass(frozen=True)
class Budget:
    """The radius ε of a norm ball, fixed (``low == high``) or drawn per sample.

    Attributes:
        low: smallest ε, a fraction of the [0, 1] range.
        high: largest ε.
        distribution: ``uniform`` on [low, high] (Dong et al. 2022: ε ∈ [4, 16]), or ``truncated_normal``:
            the normal of mean ``low`` and standard deviation ``(high - low) / 2``, truncated to [low, high]
            (Kurakin et al. 2017: [0, 16] with σ = 8).
    """

    low: float
    high: float
    distribution: Distribution = "uniform"

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"eps must be given as [low, high] with low <= high, got [{self.low}, {self.high}].")
        if self.distribution not in ("uniform", "truncated_normal"):
            raise ValueError(f"eps_distribution must be uniform or truncated_normal, got {self.distribution!r}.")

    def scaled(self, share: float) -> "Budget":
        """Return the budget with every radius multiplied by ``share``."""
        return replace(self, low=self.low * share, high=self.high * share)

    def radius(self, keys: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return every sample's ε, ``[B, 1, 1, 1]``, a function of its key alone."""
        if self.low == self.high:
            return torch.full((len(keys), 1, 1, 1), self.high, device=keys.device, dtype=dtype)
        draw = uniform(keys, (1, 1, 1), stream=_EPS_STREAM)
        if self.distribution == "truncated_normal":
            half = torch.special.ndtr(torch.tensor(2.0, device=keys.device)) - 0.5
            draw = torch.special.ndtri(0.5 + draw * half) / 2
        return self.low + (self.high - self.low) * draw.clamp(0, 1).to(dtype)


Eps = float | str | list[float | str]
"""What a configuration may say: ``0.0157``, ``"4/255"``, or ``["4/255", "16/255"]``."""


def parse_budget(eps: Eps, distribution: Distribution = "uniform", *, most: float | None = 1.0) -> Budget:
    """Turn a configured ε into a :class:`Budget`; see :func:`parse_pixels` for the units and the errors."""
    if isinstance(eps, list | tuple):
        if len(eps) != 2:
            raise ValueError(
                f"eps must be one value or [low, high], got {len(eps)} values: {list(eps)}; give each an attack of its "
                "own, or evaluate.py --eps '[…]', which does."
            )
        low, high = (parse_pixels(value, "eps", most=most) for value in eps)
        return Budget(low, high, distribution)
    value = parse_pixels(eps, "eps", most=most)
    return Budget(value, value)
