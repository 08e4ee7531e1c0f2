"""One function from a name to a network."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning_advinterp.networks.assembly import Order, assemble, weights_file
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.normalization import Channels
from lightning_advinterp.networks.recipes import Recipe
from lightning_advinterp.networks.sources import find_source


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
    softplus: float | None = None,
    **options: Any,
) -> Network:
    """Build a classifier from [0, 1] pixels to logits.

    Args:
        name: a classifier of torchvision (``resnet18``), ``timm/NAME`` (also with the tag of its weights,
            ``timm/resnet18.a1_in1k``), ``hf-hub:ORG/NAME`` (timm's on the Hugging Face hub), ``robustbench:NAME`` (see
            :func:`~lightning_advinterp.networks.zoo.robustbench.find_entry`), ``cifar_resnet20|32|44|56``,
            ``cifar_cnn``, or the path of any ``nn.Module`` class.
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
        softplus: β of softplus in the place of ReLU, by default as a run's file says, else none; see
            :func:`~lightning_advinterp.networks.softplus_layers.exchange_relu`.
        **options: further arguments of the architecture's constructor.

    Returns:
        The network, on the CPU, in training mode. Its random weights follow from the global seed alone.

    Raises:
        ValueError, FileNotFoundError: as :func:`~lightning_advinterp.networks.assembly.assemble` says.
        TypeError: if the name is none.

    Example:
        >>> import torch
        >>> network = create_network("cifar_resnet20", num_classes=4).eval()
        >>> network(torch.rand(1, 3, 32, 32)).shape
        torch.Size([1, 4])
    """
    _require_name(name)
    order = Order(name, weights, num_classes, mean, std, input_size, stem, phi, weights_set, temperature, new_head)
    return assemble(replace(order, options=options, softplus=softplus))


def _require_name(name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(
            f"name must be the name of an architecture, got {type(name).__name__}; a module is taken by "
            "RobustClassifier(network=MODULE, image_size=SIDE), evaluate() and the attacks as it is."
        )


def preprocessing(name: str, weights: str | Path | None = None) -> Recipe:
    """Return how images are prepared for a network: the named weights' own recipe, else the architecture's.

    Args:
        name: as in :func:`create_network`.
        weights: likewise; a file says nothing about its recipe.
    """
    named = str(weights) if weights is not None and weights_file(weights) is None else None
    return find_source(name).recipe(named)
