"""Which units an analysis looks at, and one number per image and unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from lightning_advinterp.networks.network import ALIASES, Network
from lightning_advinterp.networks.sites import check_layers
from lightning_advinterp.units.conv_layers import conv_taps

Reduce = Literal["max", "mean"]


@dataclass(frozen=True)
class UnitLayer:
    """A layer whose channels are units.

    Attributes:
        layer: what tables call it, the path of the convolution or module.
        tap: what is read.
        signed: whether activations below zero are possible there; None where that is not known beforehand.
    """

    layer: str
    tap: str
    signed: bool | None


def unit_layers(network: Network, layers: str | Sequence[str]) -> tuple[UnitLayer, ...]:
    """Return the layers that ``all_conv``, ``last`` or names stand for.

    Args:
        network: with the layers.
        layers: ``all_conv``: every convolution of the main path, read where its response is used; ``last``: the
            family's φ; or module paths, in a list or separated by commas, read as they return.

    Raises:
        ValueError: if a layer is unknown, or the network has no known φ.
    """
    names = [name.strip() for name in layers.split(",")] if isinstance(layers, str) else list(layers)
    convolutions = conv_taps(network)
    if names == ["all_conv"]:
        return tuple(UnitLayer(one.layer, one.tap, one.signed) for one in convolutions)
    if names == ["last"]:
        if network.phi is None:
            raise ValueError(f"layers: {network.name} has no known last layer; name module paths instead.")
        names = [network.phi]
    check_layers(network.backbone, [name for name in names if name not in ALIASES])
    known = {one.tap: one.signed for one in convolutions}
    return tuple(UnitLayer(name, name, known.get(name)) for name in names)


def reduce_maps(activation: Tensor, reduce: Reduce, layer: str) -> Tensor:
    """Return one number per image and unit: the maximum or mean over all places.

    Args:
        activation: ``[B, C, H, W]``, or ``[B, C]`` as it is.
        reduce: ``max`` or ``mean``.
        layer: for the message.

    Returns:
        ``[B, C]``.
    """
    if activation.dim() == 2:
        return activation
    if activation.dim() != 4:
        raise ValueError(
            f"layers: {layer!r} returns shape {tuple(activation.shape)}; units are the channels of maps [B, C, H, W] "
            "or of vectors [B, C]."
        )
    return activation.amax(dim=(2, 3)) if reduce == "max" else activation.mean(dim=(2, 3))
