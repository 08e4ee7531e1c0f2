"""Seeded choices of samples."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def subset_indices(size: int, limit: int | None, seed: int) -> Tensor:
    """Return which images of a data set are looked at: all, or a seeded random subset, in order.

    Args:
        size: number of images in the set.
        limit: at most so many; ``None`` for all.
        seed: draws the subset; equal seeds give nested subsets for growing limits.

    Returns:
        int64, sorted.
    """
    if limit is None or limit >= size:
        return torch.arange(size)
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    return order[:limit].sort().values


def balanced_subset(labels: Sequence[int], limit: int, seed: int = 0) -> list[int]:
    """Choose ``limit`` samples at random, as evenly over the classes as their sizes allow.

    Args:
        labels: label of each sample.
        limit: how many to choose; all where there are fewer.
        seed: of the choice, which depends on (labels, limit, seed) alone.

    Returns:
        Sorted positions.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1 image, got {limit}; use null (None) for all images")
    rank, tie = _rank_within_class(labels, seed)
    return sorted(np.lexsort((tie, rank))[:limit].tolist())


def stratified_share(labels: Sequence[int], share: float, seed: int = 0) -> tuple[list[int], list[int]]:
    """Split samples in two, the second holding ``share`` of each class (at least one, never all).

    Returns:
        Sorted positions of the rest and of the share.

    Raises:
        ValueError: ``share`` is out of range, or no class has two samples.
    """
    if not 0 < share < 1:
        raise ValueError(f"val_share must be in (0, 1), got {share}")
    rank, _ = _rank_within_class(labels, seed)
    counts = np.unique(labels, return_inverse=True, return_counts=True)
    size = counts[2][counts[1]]
    chosen = rank < np.minimum(np.maximum(1, np.round(share * size)), size - 1)
    if not chosen.any():
        raise ValueError(
            f"cannot set aside validation images: none of the {len(counts[0])} classes has two images; "
            "add a val/ folder beside train/"
        )
    return np.flatnonzero(~chosen).tolist(), np.flatnonzero(chosen).tolist()


def _rank_within_class(labels: Sequence[int], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each sample's random rank within its class, and a random number that breaks ties."""
    values = np.asarray(labels, dtype=np.int64)
    shuffled = np.random.default_rng(seed).permutation(len(values))
    by_class = shuffled[np.argsort(values[shuffled], kind="stable")]
    sorted_values = values[by_class]
    first = np.searchsorted(sorted_values, sorted_values, side="left")
    rank = np.empty(len(values), dtype=np.int64)
    rank[by_class] = np.arange(len(values)) - first
    tie = np.empty(len(values), dtype=np.int64)
    tie[shuffled] = np.arange(len(values))
    return rank, tie
