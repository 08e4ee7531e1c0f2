"""A network put together: a backbone built, filled with weights, and wrapped with its normalisation."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from lightning_advinterp.networks.dry import dry_forward
from lightning_advinterp.networks.families import default_phi
from lightning_advinterp.networks.heads import count_classes, divide_head, head_path, input_channels, replace_head
from lightning_advinterp.networks.loading import Loaded, Wish, load_content, load_named, stated_size
from lightning_advinterp.networks.logits import logits_of
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.normalization import Channels, Statistics, choose_normalization, said_statistics
from lightning_advinterp.networks.recipes import Recipe
from lightning_advinterp.networks.request import Request, Source
from lightning_advinterp.networks.softplus_layers import exchange_relu
from lightning_advinterp.networks.sources import ClassSource, find_source
from lightning_advinterp.networks.stems import STEM_SIZES, replace_stem
from lightning_advinterp.networks.weights import SUFFIXES, read_content

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """The arguments of :func:`~lightning_advinterp.networks.factory.create_network`, and what follows from them."""

    name: str
    weights: str | Path | None = None
    num_classes: int | None = None
    mean: Channels | Sequence[float] | None = None
    std: Channels | Sequence[float] | None = None
    input_size: int | None = None
    stem: str | None = None
    phi: str | None = None
    weights_set: str | None = None
    temperature: float | None = None
    new_head: bool = False
    softplus: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.num_classes is not None and self.num_classes < 1:
            raise ValueError(f"num_classes must be 1 or more, got {self.num_classes}.")

    @cached_property
    def source(self) -> Source:
        """The architecture."""
        return find_source(self.name)

    @cached_property
    def file(self) -> Path | None:
        """The file of weights."""
        return weights_file(self.weights)

    @property
    def named(self) -> str | None:
        """The name of weights, where they are no file."""
        return str(self.weights) if self.weights is not None and self.file is None else None

    @cached_property
    def recipe(self) -> Recipe:
        """How images are prepared for the named weights, or for the architecture."""
        return self.source.recipe(self.named)

    @cached_property
    def statistics(self) -> Statistics | None:
        """Mean and std that the user gives; where only one is a number, the other one is the architecture's."""
        mean, std = self.mean, self.std
        if (mean is None) != (std is None) and not isinstance(mean, str):
            mean, std = self.recipe.mean if mean is None else mean, self.recipe.std if std is None else std
        return said_statistics(mean, std)


def assemble(order: Order) -> Network:
    """Return the network that was ordered.

    Raises:
        ValueError: for an unknown name, unknown or unfitting weights, or arguments that the architecture does not take.
        FileNotFoundError: if the weights are a file that does not exist.
    """
    recipe, statistics = order.recipe, order.statistics
    content = read_content(order.file) if order.file is not None else {}
    input_size = order.input_size
    if input_size is None and order.file is not None:
        input_size = stated_size(order.file, content)
    size = input_size or (STEM_SIZES.get(order.stem) if order.stem else None) or recipe.input_size
    request = Request(order.num_classes, input_size, order.options, order.named, init=order.weights is None)
    backbone = order.source.build(request)
    if order.stem is not None:
        replace_stem(backbone, order.stem)
    loaded = _fill(backbone, order, content)
    channels = input_channels(backbone)
    kind = "file" if order.file is not None else "named" if order.named is not None else ""
    normalization = choose_normalization(statistics, loaded.beside.normalizer, recipe, channels, kind)
    classes, head, replaced = _settle_classes(order.source, backbone, order.num_classes, channels, size)
    fresh = loaded.fresh or (replaced and order.weights is not None)
    divisor = loaded.beside.temperature if order.temperature is None else order.temperature
    if divisor not in (None, 1) and not fresh:
        divide_head(backbone, divisor)
    network = Network(
        backbone,
        name=order.source.name,
        num_classes=classes,
        mean=normalization.mean,
        std=normalization.std,
        input_size=size,
        phi=order.phi or default_phi(backbone, channels=channels, input_size=size),
        head=head,
        stem=order.stem,
        options={**order.source.options, **order.options},
    )
    beta = loaded.beside.softplus if order.softplus is None else order.softplus
    if beta is not None:
        exchange_relu(network, beta)
    network.untrained = "everything" if order.weights is None else "head" if fresh else ""
    origin = loaded.origin(str(order.weights or ""), normalization.source, fresh, divisor)
    network.origin = replace(origin, softplus=network.softplus)
    return network


def weights_file(weights: str | Path | None) -> Path | None:
    """Return ``weights`` as a path if it is meant as a file: it exists, is a ``Path``, or looks like one."""
    if weights is None:
        return None
    text = os.fspath(weights)
    looks = isinstance(weights, Path) or text.endswith(SUFFIXES) or os.sep in text
    return Path(text).expanduser() if looks or os.path.isfile(text) else None


def _fill(backbone: nn.Module, order: Order, content: Mapping[Any, Any]) -> Loaded:
    """Fill a backbone with the weights that were ordered."""
    wish = Wish(
        order.num_classes,
        order.weights_set,
        normalized=order.statistics is not None,
        tempered=order.temperature is not None,
        new_head=order.new_head,
    )
    if order.file is not None:
        return load_content(backbone, order.file, content, wish)
    if order.named is not None:
        return load_named(order.source, backbone, order.named, wish)
    return Loaded()


def _settle_classes(
    source: Source, backbone: nn.Module, num_classes: int | None, channels: int, size: int
) -> tuple[int, str | None, bool]:
    """Return the number of logits, the last layer's path, and whether that layer had to be exchanged.

    The last layer of a class from elsewhere is not taken on trust: a forward pass tells how many logits there
    are.
    """
    classes = count_classes(backbone)
    if classes is None or isinstance(source, ClassSource):
        try:
            output = dry_forward(backbone, channels, size)
        except Exception as error:
            if num_classes is not None or classes is not None:
                return num_classes or classes or 0, None, False
            raise ValueError(
                f"num_classes must be given for {source.name}: its last layer has no usual name, and a "
                f"forward pass of a {channels}x{size}x{size} image failed ({error}). Give num_classes, or "
                "the right input_size."
            ) from error
        logits = logits_of(output, source.name, classes).shape[1]
        if classes != logits and num_classes in (None, logits):
            return logits, None, False
        if classes != logits:
            raise ValueError(
                f"num_classes={num_classes}: {source.name} makes {logits} logits, it is not known which layer does; "
                "let its constructor take num_classes."
            )
    if num_classes is not None and num_classes != classes:
        replace_head(backbone, num_classes)
        logger.warning(
            "%s: %s classes, num_classes is %d; the last layer starts afresh.", source.name, classes, num_classes
        )
        return num_classes, head_path(backbone), True
    return classes, head_path(backbone), False
