"""One function from a name to a network."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from lightning_advinterp.networks.dry import dry_forward
from lightning_advinterp.networks.families import default_phi
from lightning_advinterp.networks.heads import (
    count_classes,
    count_classes_in,
    head_keys,
    head_path,
    replace_head,
)
from lightning_advinterp.networks.network import Network, logits_of
from lightning_advinterp.networks.recipes import Recipe
from lightning_advinterp.networks.sources import ClassSource, Request, Source, find_source
from lightning_advinterp.networks.stems import STEM_SIZES, replace_stem
from lightning_advinterp.networks.weights import SUFFIXES, load_into, load_state_dict_file, rename

logger = logging.getLogger(__name__)

_AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")
"""Keys of auxiliary heads, which networks here do without."""


def create_network(
    name: str,
    weights: str | Path | None = None,
    num_classes: int | None = None,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    input_size: int | None = None,
    stem: str | None = None,
    phi: str | None = None,
    **options: Any,
) -> Network:
    """Build a classifier from [0, 1] pixels to logits.

    Args:
        name: a classifier of torchvision (``resnet18``), ``timm/NAME`` (also with the tag of its weights,
            ``timm/resnet18.a1_in1k``), ``cifar_resnet20|32|44|56``, or the path of any ``nn.Module`` class.
        weights: None for random ones; a torchvision name (``IMAGENET1K_V1``, ``DEFAULT``); ``pretrained`` for
            the default of torchvision or timm; or a file, see
            :func:`~lightning_advinterp.networks.weights.load_state_dict_file`.
        num_classes: number of logits. By default as many as the weights have, else 1000 (CIFAR ResNets: 10).
            If the weights have another number, all but the last layer is loaded, and that one starts afresh.
        mean: per channel, of pixels in [0, 1]; by default as the weights were trained, else ImageNet's (0.5
            for Inception v3 and GoogLeNet).
        std: likewise.
        input_size: side in pixels that the network is meant for; by default as the weights were trained, else
            224 (Inception v3: 299, CIFAR ResNets and ``stem="small"``: 32, ``stem="medium"``: 64).
        stem: ``small`` (32 px) or ``medium`` (64 px) for torchvision's ResNets, see
            :func:`~lightning_advinterp.networks.stems.replace_stem`.
        phi: path of the default feature layer; by default the family's.
        **options: further arguments of the architecture's constructor.

    Returns:
        The network, on the CPU, in training mode. Its random weights follow from the global seed alone.

    Raises:
        ValueError: for an unknown name (with the nearest ones), unknown or unfitting weights, or arguments
            that the architecture does not take.
        FileNotFoundError: if ``weights`` is a file that does not exist.
    """
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"num_classes must be 1 or more, got {num_classes}.")
    source = find_source(name)
    file = _as_file(weights)
    named = str(weights) if weights is not None and file is None else None
    recipe = source.recipe(named)
    size = input_size or (STEM_SIZES.get(stem) if stem else None) or recipe.input_size
    backbone = source.build(Request(num_classes, input_size, options, named, init=weights is None))
    if stem is not None:
        replace_stem(backbone, stem)
    untrained = "everything"
    if file is not None or named is not None:
        untrained = "head" if _load(source, backbone, file, named, num_classes) else ""
    mean, std = recipe.mean if mean is None else mean, recipe.std if std is None else std
    channels = len(mean)
    classes, head = _settle_classes(source, backbone, num_classes, channels, size)
    network = Network(
        backbone,
        name=name,
        num_classes=classes,
        mean=mean,
        std=std,
        input_size=size,
        phi=phi or default_phi(backbone, channels=channels, input_size=size),
        head=head,
        stem=stem,
        options=options,
    )
    network.untrained = untrained
    return network


def preprocessing(name: str, weights: str | Path | None = None) -> Recipe:
    """Return how images are prepared for a network: the named weights' own recipe, else the architecture's.

    Args:
        name: as in :func:`create_network`.
        weights: likewise; a file says nothing about its recipe.
    """
    named = str(weights) if weights is not None and _as_file(weights) is None else None
    return find_source(name).recipe(named)


def _as_file(weights: str | Path | None) -> Path | None:
    """Return ``weights`` as a path if it is meant as a file: it exists, is a ``Path``, or looks like one."""
    if weights is None:
        return None
    text = os.fspath(weights)
    looks = isinstance(weights, Path) or text.endswith(SUFFIXES) or os.sep in text
    return Path(text).expanduser() if looks or os.path.isfile(text) else None


def _load(source: Source, backbone: nn.Module, file: Path | None, named: str | None, num_classes: int | None) -> bool:
    """Fill the backbone from a file or named weights; return whether the last layer starts afresh (another size)."""
    origin, expected = str(file or named), backbone.state_dict().keys()
    if file is not None:
        tensors = load_state_dict_file(file, expected)
    else:
        downloaded = source.download(origin)
        if downloaded is None:
            return False
        tensors = rename(downloaded, origin, expected)
    if not any(key.startswith(_AUXILIARY) for key in expected):
        tensors = {key: value for key, value in tensors.items() if not key.startswith(_AUXILIARY)}
    classes = count_classes_in(tensors, backbone)
    fresh: set[str] = set()
    if classes is not None and classes != count_classes(backbone):
        if num_classes is None:
            replace_head(backbone, classes)
        else:
            fresh = head_keys(backbone)
            logger.warning(
                "%s: %d classes, num_classes is %d; the last layer starts afresh.",
                origin,
                classes,
                num_classes,
            )
    load_into(backbone, tensors, origin, fresh=fresh)
    return bool(fresh)


def _settle_classes(
    source: Source, backbone: nn.Module, wanted: int | None, channels: int, size: int
) -> tuple[int, str | None]:
    """Return the number of logits and the last layer's path, after exchanging it where need be.

    The last layer of a class from elsewhere is not taken on trust: a forward pass tells how many logits there
    are.
    """
    found = count_classes(backbone)
    if found is None or isinstance(source, ClassSource):
        try:
            logits = logits_of(dry_forward(backbone, channels, size), source.name).shape[1]
        except Exception as error:
            if wanted is not None or found is not None:
                return wanted or found or 0, None
            raise ValueError(
                f"num_classes must be given for {source.name}: its last layer has no usual name, and a "
                f"forward pass of a {channels}x{size}x{size} image failed ({error}). Give num_classes, or "
                "the right input_size."
            ) from error
        if found != logits and wanted in (None, logits):
            return logits, None
        found = logits
    if wanted is not None and wanted != found:
        replace_head(backbone, wanted)
        return wanted, head_path(backbone)
    return found, head_path(backbone)
