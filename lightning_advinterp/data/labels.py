"""From class folders to the labels a network uses, and class-balanced choices of samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_advinterp.data.cifar_files import CLASS_NAMES, WNIDS
from lightning_advinterp.data.imagenet_classes import (
    imagenet_classes,
    imagenet_index,
    imagenet_name,
    is_imagenet_wnid,
)
from lightning_advinterp.data.scan import shorten

IMAGENET_OUTPUTS = 1000


@dataclass(frozen=True)
class LabelMap:
    """How the class folders of a data set become labels.

    Attributes:
        labels: for each folder, in sorted order, its label.
        classes: for each label its folder name (all 1,000 wnids where the labels are ImageNet's; CIFAR-10's wnids where
            the folders are its ten classes).
        names: for each label a readable name: ImageNet's for a wnid, else the folder's.
    """

    labels: list[int]
    classes: list[str]
    names: list[str]


@dataclass(frozen=True)
class Outputs:
    """What a trained network's outputs are called.

    Attributes:
        classes: for each output the class folder (or wnid) it was trained on.
        names: for each output a readable name.
    """

    classes: Sequence[str]
    names: Sequence[str]


def map_labels(folders: Sequence[str], num_classes: int | None = None, outputs: Outputs | None = None) -> LabelMap:
    """Choose the labels of class folders.

    Where the network's outputs have names, a folder's label is the output of its name. Otherwise a network with 1,000
    outputs and folders named by ImageNet wnids gives torchvision's class index, and everything else the folder's
    position in sorted order.

    Args:
        folders: names of the class folders, sorted.
        num_classes: outputs of the network; None where there is no network yet.
        outputs: the names of its outputs; None where they are unknown.

    Raises:
        ValueError: a folder that no output is named after; some folders are ImageNet wnids and some not (with 1,000
            outputs); more folders than outputs.
    """
    if outputs is not None and outputs.classes:
        return _by_name(folders, outputs)
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"num_classes must be at least 1 (outputs of the network), got {num_classes}")
    known = [name for name in folders if is_imagenet_wnid(name)]
    if num_classes == IMAGENET_OUTPUTS and known:
        unknown = [name for name in folders if not is_imagenet_wnid(name)]
        if unknown:
            raise ValueError(
                f"with num_classes=1000 the class folders must all be ImageNet wnids or none of them, but "
                f"{len(known)} are ({shorten(known)}) and {len(unknown)} are not ({shorten(unknown)}); "
                "rename or remove the latter, or use a network with as many outputs as folders"
            )
        table = imagenet_classes()
        labels = [imagenet_index(name) for name in folders]
        return LabelMap(labels, [entry.wnid for entry in table], [entry.name for entry in table])
    if num_classes is not None and len(folders) > num_classes:
        raise ValueError(
            f"class {folders[num_classes]!r} has label {num_classes}, but the network has {num_classes} "
            f"outputs (labels 0 to {num_classes - 1}) and the data {len(folders)} classes; "
            f"set num_classes={len(folders)}, or remove folders"
        )
    classes = WNIDS if tuple(folders) == CLASS_NAMES else folders
    return LabelMap(list(range(len(folders))), list(classes), [imagenet_name(name) for name in folders])


def _by_name(folders: Sequence[str], outputs: Outputs) -> LabelMap:
    known = {name: label for label, name in enumerate(outputs.names)}
    known |= {name: label for label, name in enumerate(outputs.classes)}
    unknown = [name for name in folders if name not in known]
    if unknown:
        raise ValueError(
            f"the network knows {len(outputs.classes)} classes ({shorten(list(outputs.classes))}), but "
            f"{len(unknown)} of the {len(folders)} class folders are none of them ({shorten(unknown)}); "
            "remove these folders, or rename them to the classes they hold"
        )
    return LabelMap([known[name] for name in folders], list(outputs.classes), list(outputs.names))


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
