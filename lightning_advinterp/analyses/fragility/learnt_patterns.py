"""Patterns that are learnt from the data at hand, where the file that would hold them is not there yet."""

import logging
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from lightning_advinterp.core.locks import held
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.explanations.patterns import learn_patterns
from lightning_advinterp.networks.network import Network

logger = logging.getLogger(__name__)

_AN_HOUR = 3600.0
"""Of several processes one learns, and the others wait."""


def learn_missing_patterns(
    path: str | Path, network: Network, images: ImageSet, *, count: int, seed: int, batch_size: int
) -> None:
    """Learn the patterns of a network from a seeded choice of images, and write them, unless the file is there.

    Args:
        path: of the file, ``….safetensors``.
        network: eval mode; unchanged.
        images: labels do not matter.
        count: so many of them; all where there are fewer.
        seed: of the choice.
        batch_size: images at a time.

    Raises:
        ValueError: naming what patterns are not defined for, as of a network of GELU.
    """
    path = Path(path)
    if path.is_file():
        return
    with held(path.parent, "fragility.patterns", name=f".{path.name}.lock", what=path, wait=_AN_HOUR):
        if path.is_file():
            return
        places = images.choice(min(count, len(images)), seed)
        logger.warning("fragility.patterns: learning %s from %d images of the data.", path, len(places))
        device = next(network.parameters()).device
        learn_patterns(network, _batches(images, places, batch_size, device)).save(path)


def _batches(images: ImageSet, places: list[int], size: int, device: torch.device) -> Iterator[Tensor]:
    for start in range(0, len(places), size):
        samples = images.readable(places[start : start + size])
        if samples:
            stacked = Batch(*(torch.stack([torch.as_tensor(sample[part]) for sample in samples]) for part in range(3)))
            yield stacked.to_float().image.to(device)
