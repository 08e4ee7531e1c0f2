"""A network around a module that a user has in memory."""

import copy
from collections.abc import Callable, Sequence
from typing import cast

from torch import nn

from lightning_advinterp.networks.dry import dry_forward
from lightning_advinterp.networks.families import default_phi
from lightning_advinterp.networks.heads import count_classes, head_path
from lightning_advinterp.networks.logits import logits_of
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.normalization import Statistics, choose_normalization
from lightning_advinterp.networks.origin import Origin
from lightning_advinterp.networks.recipes import NONE, Recipe
from lightning_advinterp.networks.taps import backbone_of
from lightning_advinterp.networks.trial import RGB


def as_network(module: nn.Module, shape: Callable[[], Sequence[int]], statistics: Statistics | None = None) -> Network:
    """Return a module as a network: a :class:`Network` as it is, and a copy of any other.

    The copy takes pixels in [0, 1] as they are, unless ``statistics`` are given; the module itself gets no hook.

    Args:
        module: from ``[B, C, H, W]`` to logits; a module whose ``network`` is a :class:`Network`, such as a
            ``RobustClassifier``, stands for it.
        shape: returns ``[C, H, W]`` of an image; called where the module is no network yet.
        statistics: mean and std of pixels in [0, 1].

    Raises:
        TypeError: if it is no module.
        ValueError: if it does not take such images, or returns no logits; if statistics contradict a network's own.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"network must be a torch.nn.Module, got {type(module).__name__}.")
    within = getattr(module, "network", None)
    network = within if isinstance(within, Network) else module
    if backbone_of(network) is not network:  # also a compiled one
        if statistics is not None:
            raise ValueError("mean, std: a Network normalises by itself; leave them out.")
        return cast(Network, network)
    name = f"{type(module).__module__}.{type(module).__qualname__}"
    channels, height, width = shape()
    backbone = copy.deepcopy(module)
    try:
        output = dry_forward(backbone, channels, width)
    except Exception as error:
        raise ValueError(f"network: {name} does not take images of {channels}x{height}x{width}: {error}") from error
    classes = logits_of(output, name).shape[1]
    normalization = choose_normalization(statistics, None, Recipe(*NONE), channels, "")
    network = Network(
        backbone,
        name=name,
        num_classes=classes,
        mean=normalization.mean,
        std=normalization.std,
        input_size=width,
        phi=default_phi(backbone, channels=channels, input_size=width),
        head=head_path(backbone) if count_classes(backbone) == classes else None,
    )
    network.origin = Origin(weights="of the module in memory", normalization=normalization.source)
    return network


def as_sized_network(module: nn.Module, image_size: int | None, statistics: Statistics | None = None) -> Network:
    """Return a network around a copy of a module of RGB images, see :func:`as_network`.

    Args:
        module: from ``[B, 3, S, S]`` to logits.
        image_size: S, in pixels.
        statistics: mean and std of pixels in [0, 1].

    Raises:
        ValueError: if the size is not said; as :func:`as_network`.
    """
    if image_size is None:
        raise ValueError(
            f"image_size: the module {type(module).__name__} does not say which images it takes; give image_size=SIDE "
            "in pixels."
        )
    return as_network(module, lambda: (RGB, image_size, image_size), statistics)
