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
    divide_head,
    head_path,
    input_channels,
    replace_head,
)
from lightning_advinterp.networks.loading import Loaded, Wish, load_content, load_named, stated_size
from lightning_advinterp.networks.logits import logits_of
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.normalization import Channels, choose_normalization, said_statistics
from lightning_advinterp.networks.recipes import Recipe
from lightning_advinterp.networks.sources import ClassSource, Request, Source, find_source
from lightning_advinterp.networks.stems import STEM_SIZES, replace_stem
from lightning_advinterp.networks.weights import SUFFIXES, read_content

logger = logging.getLogger(__name__)


def create_network(
    name: str,
    weights: str | Path | None = None,
    num_classes: int | None = None,
    *,
    mean: Channels | Sequence[float] | None = None,
    std: Channels | Sequence[float] | None = None,
    input_size: int | None = None,
    stem: str | None = None,
    phi: str | None = None,
    weights_set: str | None = None,
    temperature: float | None = None,
    new_head: bool = False,
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
        mean: of pixels in [0, 1]: a number for all channels, one for each, or a name (``none``, ``imagenet``,
            ``half``). By default as the weights or their file say, else ImageNet's (0.5 for Inception v3 and
            GoogLeNet); a class path's images stay as they are.
        std: likewise; where one of the two is given alone, the other is the architecture's.
        input_size: side in pixels that the network is meant for; by default as the weights or their file say, else
            224 (Inception v3: 299, CIFAR ResNets and ``stem="small"``: 32, ``stem="medium"``: 64).
        stem: ``small`` (32 px) or ``medium`` (64 px) for torchvision's ResNets, see
            :func:`~lightning_advinterp.networks.stems.replace_stem`.
        phi: path of the default feature layer; by default the family's.
        weights_set: which of a file's sets of tensors, by its name or a part of it (``ema``); by default the raw one.
        temperature: what the logits of trained weights are divided by, in the last layer; by default as the file says.
        new_head: start the last layer afresh, although the weights have one for as many classes.
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
    source, file = find_source(name), _as_file(weights)
    named = str(weights) if weights is not None and file is None else None
    recipe = source.recipe(named)
    if (mean is None) != (std is None) and not isinstance(mean, str):  # the other one is the architecture's
        mean, std = recipe.mean if mean is None else mean, recipe.std if std is None else std
    said = said_statistics(mean, std)
    content = read_content(file) if file is not None else {}
    if input_size is None and file is not None:
        input_size = stated_size(file, content)
    size = input_size or (STEM_SIZES.get(stem) if stem else None) or recipe.input_size
    backbone = source.build(Request(num_classes, input_size, options, named, init=weights is None))
    if stem is not None:
        replace_stem(backbone, stem)
    wish = Wish(num_classes, weights_set, said is not None, temperature is not None, new_head)
    loaded = Loaded()
    if file is not None:
        loaded = load_content(backbone, file, content, wish)
    elif named is not None:
        loaded = load_named(source, backbone, named, wish)
    channels, kind = input_channels(backbone), "file" if file is not None else "named" if named is not None else ""
    normalization = choose_normalization(said, loaded.beside.normalizer, recipe, channels, kind)
    classes, head, replaced = _settle_classes(source, backbone, num_classes, channels, size)
    fresh = loaded.fresh or (replaced and weights is not None)
    divisor = loaded.beside.temperature if temperature is None else temperature
    if divisor not in (None, 1) and not fresh:
        divide_head(backbone, divisor)
    network = Network(
        backbone,
        name=name,
        num_classes=classes,
        mean=normalization.mean,
        std=normalization.std,
        input_size=size,
        phi=phi or default_phi(backbone, channels=channels, input_size=size),
        head=head,
        stem=stem,
        options=options,
    )
    network.untrained = "everything" if weights is None else "head" if fresh else ""
    network.origin = loaded.origin(str(weights or ""), normalization.source, fresh, divisor)
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


def _settle_classes(
    source: Source, backbone: nn.Module, wanted: int | None, channels: int, size: int
) -> tuple[int, str | None, bool]:
    """Return the number of logits, the last layer's path, and whether that layer had to be exchanged.

    The last layer of a class from elsewhere is not taken on trust: a forward pass tells how many logits there
    are.
    """
    found = count_classes(backbone)
    if found is None or isinstance(source, ClassSource):
        try:
            output = dry_forward(backbone, channels, size)
        except Exception as error:
            if wanted is not None or found is not None:
                return wanted or found or 0, None, False
            raise ValueError(
                f"num_classes must be given for {source.name}: its last layer has no usual name, and a "
                f"forward pass of a {channels}x{size}x{size} image failed ({error}). Give num_classes, or "
                "the right input_size."
            ) from error
        logits = logits_of(output, source.name, found).shape[1]
        if found != logits and wanted in (None, logits):
            return logits, None, False
        if found != logits:
            raise ValueError(
                f"num_classes={wanted}: {source.name} makes {logits} logits, it is not known which layer does; let "
                "its constructor take num_classes."
            )
    if wanted is not None and wanted != found:
        replace_head(backbone, wanted)
        logger.warning("%s: %s classes, num_classes is %d; the last layer starts afresh.", source.name, found, wanted)
        return wanted, head_path(backbone), True
    return found, head_path(backbone), False
