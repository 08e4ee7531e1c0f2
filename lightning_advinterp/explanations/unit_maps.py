"""Which pixels make a unit strong: gradient, Grad-CAM and LRP from a unit's activation instead of a class's logit."""

from typing import Literal, get_args

import torch
from torch import Tensor

from lightning_advinterp.explanations.explanation import unit_sum
from lightning_advinterp.explanations.layer_maps import layer_layout, patch_cutters
from lightning_advinterp.explanations.lrp import LRP
from lightning_advinterp.explanations.program import program_until
from lightning_advinterp.explanations.question import Question, asking
from lightning_advinterp.explanations.verification import verified_program
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.sites import parse_layer
from lightning_advinterp.networks.taps import taps
from lightning_advinterp.units.spaces import UnitLayer

UnitMethod = Literal["gradient", "gradcam", "lrp"]
UNIT_METHODS: tuple[UnitMethod, ...] = get_args(UnitMethod)
UNIT_PASSES: dict[UnitMethod, tuple[int, int]] = {"gradient": (1, 1), "gradcam": (1, 1), "lrp": (2, 1)}
"""Forward and backward passes of a map."""


def unit_map(network: Network, x: Tensor, layer: UnitLayer, units: Tensor, method: UnitMethod) -> Tensor:
    """Return how much each place of an image has to do with a unit's activation a(x) = max over places of its map.

    * ``gradient``: Σ_channels |∂a/∂z|, z the normalised image (Simonyan et al. 2014, of a unit).
    * ``gradcam``: relu Σ_k α_k A^k, α_k the mean over places of ∂a/∂A^k (Selvaraju et al. 2017, Eq. 1 and 2), with A
      what the unit's layer reads: its own maps would have α = 0 but for the unit's. Enlarged to the image, bilinear.
    * ``lrp``: the relevance of the pixels by the z⁺ rule, z^B for the first layer, from a at its place, see
      :class:`~lightning_advinterp.explanations.lrp.LRP`; Σ_channels of its magnitude.

    Args:
        network: seen in evaluation mode; comes back as it was.
        x: images ``[B, 3, H, W]`` in [0, 1].
        layer: the units' layer.
        units: int64 ``[B]``, the unit that is asked about in each image.
        method: ``gradient``, ``gradcam`` or ``lrp``.

    Returns:
        ``[B, H, W]``, not negative, with sum 1; all zeros where nothing in the image moves the unit.

    Raises:
        ValueError: if the method does not fit the layer or the network; names both.
    """
    if method not in UNIT_METHODS:
        raise ValueError(f"method must be one of {', '.join(UNIT_METHODS)}, got {method!r}.")
    nothing = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    with asking(network, x, nothing, nothing, create_graph=False) as question:
        if method == "lrp":
            return unit_sum(_relevance(network, question, layer, units).abs().sum(1)).to(x.dtype)
        source = None if method == "gradient" else _read_by(layer)
        tapped = [layer.tap] if source is None else [layer.tap, source, *patch_cutters(question.body)]
        z = question.leaf()
        with taps(network, tapped) as activations:
            question.logits(z)
        activation = strongest(layer.maps(activations[layer.tap]), units)
        if source is None:
            return unit_sum(question.gradient(activation, z).abs().sum(1)).to(x.dtype)
        layout = layer_layout(question, source, activations, method)
        weights = layout.maps(question.gradient(activation, activations[source])).mean((2, 3), keepdim=True)
        cam = (weights * layout.maps(activations[source])).sum(1, keepdim=True).clamp(min=0)
        large = torch.nn.functional.interpolate(cam, x.shape[2:], mode="bilinear", align_corners=False)
        return unit_sum(large[:, 0].detach()).to(x.dtype)


def strongest(maps: Tensor, units: Tensor) -> Tensor:
    """Return the largest activation of a unit in each image, from the first of its places, ``[B, U, h, w] -> [B]``."""
    flat = maps[torch.arange(len(maps), device=maps.device), units.to(maps.device)].flatten(1)
    return flat.gather(1, flat.argmax(1, keepdim=True))[:, 0]


def _read_by(layer: UnitLayer) -> str:
    """Return the name of what a unit's layer reads."""
    module = parse_layer(layer.layer.partition("@")[0])
    call = "" if module.call is None else f"#{module.call}"
    source = f"{module.path}{call}:input"
    if source == layer.tap:
        raise ValueError(
            f"gradcam: the units of layer {layer.layer} are what it reads, and a map of Grad-CAM would weigh these by "
            "themselves; take gradient or lrp."
        )
    return source


def _relevance(network: Network, question: Question, layer: UnitLayer, units: Tensor) -> Tensor:
    """Return the pixels' relevance to a unit, ``[B, C, H, W]``."""
    if layer.basis is not None:
        raise ValueError(
            f"lrp: the units of layer {layer.layer} are mixtures of a layer's, through which it has no rule; take "
            "gradient or gradcam."
        )
    method = LRP()
    full = verified_program(question.body, method.name, question.z)
    program = program_until(full, network.place(layer.tap), method.name)

    def start(values: Tensor) -> Tensor:
        with torch.enable_grad():
            point = values.detach().requires_grad_()
            activation = strongest(layer.maps(point), units)
            (place,) = torch.autograd.grad(activation.sum(), point)  # 1 where the activation is read, 0 elsewhere
        return place * activation.detach().view(-1, *[1] * (values.dim() - 1))

    return method.relevance(question, program, start)
