"""How images are normalised for a network: as the user says, else as its weights do, else as is usual."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_advinterp.networks.network import IMAGENET_MEAN, IMAGENET_STD
from lightning_advinterp.networks.normalizers import Normalizer, spread
from lightning_advinterp.networks.recipes import HALF, NONE, Recipe

Channels = float | list[float] | str
"""Mean or std as users say it: a number for all channels, one for each, or a name of :data:`NORMALIZATIONS`."""

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and std: one value, or one per channel."""

NORMALIZATIONS: dict[str, Statistics] = {
    "none": NONE,
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "half": (HALF, HALF),
}
"""Mean and std by name."""


@dataclass(frozen=True)
class Normalization:
    """Mean and std, one value per channel, and who says so."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str


def said_statistics(
    mean: Channels | Sequence[float] | None, std: Channels | Sequence[float] | None
) -> Statistics | None:
    """Return the mean and std that a user says, or None where nothing is said.

    Args:
        mean: a number, a list, numbers separated by commas, or a name: ``none``, ``imagenet`` or ``half``.
        std: likewise; not needed where mean is a name.

    Raises:
        ValueError: if one of them is missing, or is no number and no name.

    >>> said_statistics("0.5,0.4,0.3", 0.25)
    ((0.5, 0.4, 0.3), (0.25,))
    """
    if mean is None and std is None:
        return None
    if isinstance(mean, str) and mean in NORMALIZATIONS and std in (None, mean):
        return NORMALIZATIONS[mean]
    if mean is None or std is None:
        raise ValueError(
            f"mean and std must be given together, got mean={mean!r} and std={std!r}; mean alone may be one of "
            f"{', '.join(NORMALIZATIONS)}."
        )
    return _numbers("mean", mean), _numbers("std", std)


def _numbers(argument: str, values: Channels | Sequence[float]) -> tuple[float, ...]:
    if isinstance(values, int | float):
        return (float(values),)
    try:
        numbers = values.strip("[]() ").split(",") if isinstance(values, str) else values
        return tuple(float(number) for number in numbers)
    except (TypeError, ValueError):
        raise ValueError(
            f"{argument} must be a number for all channels, one for each separated by commas, or (mean alone) one of "
            f"{', '.join(NORMALIZATIONS)}, got {values!r}."
        ) from None


def choose_normalization(
    statistics: Statistics | None, stated: Normalizer | None, recipe: Recipe, channels: int, origin: str
) -> Normalization:
    """Return how images are normalised.

    Args:
        statistics: by the user.
        stated: by the weights' file.
        recipe: of the architecture or of its named weights.
        channels: of the network's input.
        origin: of the weights: ``file``, ``named``, or empty for random ones.

    Raises:
        ValueError: if the numbers of values and channels differ.
    """
    names = "" if stated is None else " and ".join(stated.names)
    if statistics is not None:
        return Normalization(
            spread(statistics[0], channels, "mean"),
            spread(statistics[1], channels, "std"),
            f"as given{f', not {names} of the file' if names else ''}",
        )
    if stated is not None:
        return Normalization(*stated.at(channels), f"{names} of the file")
    if (recipe.mean, recipe.std) == NONE:
        source = "the file says none" if origin == "file" else "usual for a class path"
        return Normalization((0.0,) * channels, (1.0,) * channels, source)
    source = {"file": "usual for the architecture, the file says none", "named": "the weights' own"}.get(
        origin, "usual"
    )
    if len(recipe.mean) == channels:
        return Normalization(recipe.mean, recipe.std, source)
    mean, std = (sum(values) / len(values) for values in (recipe.mean, recipe.std))
    return Normalization((mean,) * channels, (std,) * channels, f"{source}, averaged over its channels")
