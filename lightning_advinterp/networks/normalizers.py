"""Normalisers that weights files carry: found by their names, and read in the unit of pixels in [0, 1]."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_MEANS = ("mean", "means", "mu")
_DEVIATIONS = ("std", "stds", "sigma", "sigmas", "stdev", "stddev", "sd", "sds")
_VARIANCES = ("var", "vars", "variance")
_LAYERS = re.compile(r"norm|preproc|whiten|standardi[sz]|transform|image|pixel|input|data|rgb|(?<![a-z])0(?![0-9])")
"""Names of layers and settings that are about images: a single number there is a mean of pixels, not of accuracies."""
_BYTES = 255


@dataclass(frozen=True)
class Normalizer:
    """How images are normalised for a network, in units of pixels in [0, 1].

    Attributes:
        mean: one value, or one per channel.
        std: likewise.
        names: what the file calls them.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    names: tuple[str, ...]

    def at(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and std with a value for every channel.

        Raises:
            ValueError: if there is another number of them.
        """
        return spread(self.mean, channels, self.names[0]), spread(self.std, channels, self.names[1])


def spread(values: tuple[float, ...], channels: int, name: str) -> tuple[float, ...]:
    """Return a value for every channel, from one for all or one for each."""
    if len(values) == 1:
        return values * channels
    if len(values) != channels:
        raise ValueError(
            f"{name} has {len(values)} values, the network {channels} input channels; give mean and std with one value "
            "for all, or one for each."
        )
    return values


def find_normalizer(entries: Mapping[str, Any], source: str) -> Normalizer | None:
    """Return the normaliser among named values, or None.

    Args:
        entries: numbers, lists of numbers or small tensors, by dotted names.
        source: what an error calls the file.

    Raises:
        ValueError: if there are several that differ, or one whose values are none.
    """
    normalizers = [_read(mean, deviation, entries, source) for mean, deviation in _pairs(entries)]
    if not normalizers:
        return None
    differing = [normalizer for normalizer in normalizers if not _close(normalizer, normalizers[0])]
    if differing:
        named = "; ".join(
            f"{' and '.join(normalizer.names)}: {normalizer.mean}, {normalizer.std}"
            for normalizer in (normalizers[0], *differing)
        )
        raise ValueError(f"weights: {source} names several normalisers ({named}); say which: give mean and std.")
    return normalizers[0]


def suspects(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return names of tensors that may normalise images: of three values, or of a layer whose name says so."""
    return [
        name
        for name, value in tensors.items()
        if value.is_floating_point() and (value.numel() in (3, 9) or (value.numel() == 1 and "norm" in name.lower()))
    ]


def _pairs(entries: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the names of a mean and its deviation: the same place and name but for the word."""
    deviations = {_place(name, (*_DEVIATIONS, *_VARIANCES)): name for name in entries}
    for name, value in entries.items():
        place = _place(name, _MEANS)
        partner = deviations.get(place) if place is not None else None
        if partner is None or "running" in name:
            continue
        if not isinstance(value, int | float) or _LAYERS.search(name.lower()):
            yield name, partner


def _place(name: str, words: tuple[str, ...]) -> tuple[str, tuple[str, ...]] | None:
    """Return a name's parent and its own words without the one that is looked for; None where that is missing."""
    parent, _, last = name.rpartition(".")
    parts = [part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", last)]
    if not any(part in words for part in parts):
        return None
    return parent, tuple(part for part in parts if part not in words)


def _read(mean: str, deviation: str, entries: Mapping[str, Any], source: str) -> Normalizer:
    means, deviations = _numbers(entries[mean]), _numbers(entries[deviation])
    if _place(deviation, _VARIANCES) is not None:
        deviations = deviations.sqrt()
    if not bool(torch.isfinite(torch.cat((means, deviations))).all()) or not bool((deviations > 0).all()):
        raise ValueError(
            f"weights: {source} has {mean} {means.tolist()} and {deviation} {deviations.tolist()}, which are no mean "
            "and std of images; give mean and std."
        )
    largest = float(means.abs().max())
    if largest > 2 or (largest == 0 and float(deviations.max()) > 2):  # of pixels in 0 to 255
        if float(deviations.min()) < 1:
            raise ValueError(
                f"weights: {source} has {mean} {means.tolist()} in units of 0 to 255 and {deviation} "
                f"{deviations.tolist()} in others; give mean and std, of pixels in [0, 1]."
            )
        means, deviations = means / _BYTES, deviations / _BYTES
    # Single precision is what files keep; more digits would be those of the conversion.
    shortest = [tuple(float(str(value)) for value in values.float().numpy()) for values in (means, deviations)]
    return Normalizer(shortest[0], shortest[1], (mean, deviation))


def _numbers(value: Any) -> Tensor:
    return (
        torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else torch.double)
        .detach()
        .cpu()
        .double()
        .reshape(-1)
    )


def _close(first: Normalizer, second: Normalizer) -> bool:
    pairs = ((first.mean, second.mean), (first.std, second.std))
    return all(
        len({len(a), len(b), 1}) <= 2
        and bool(torch.allclose(torch.tensor(a, dtype=torch.double), torch.tensor(b, dtype=torch.double), atol=1e-6))
        for a, b in pairs
    )
