"""Class activation maps: CAM and Grad-CAM."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lightning_advinterp.explanations.explanation import Method, share, unit_sum
from lightning_advinterp.explanations.layer_maps import (
    explained_layer,
    feature_layers,
    last_block_input,
    layer_layout,
    patch_cutters,
)
from lightning_advinterp.explanations.question import Output, Question, check_output
from lightning_advinterp.networks import taps
from lightning_advinterp.networks.heads import head_path
from lightning_advinterp.networks.trace import function_name

Interpolation = Literal["bilinear", "bicubic"]
"""How a map is enlarged to the image's size."""


class GradCAM(Method):
    """Σ_k α_k A^k with α_k the mean over places of ∂F_c/∂A^k (Selvaraju et al. 2017), enlarged.

    The map is relu of it, divided by its sum; the signed form is without relu. A layer may return maps with channels
    first or last (Swin), or tokens: then A^k lies on the grid of patches, and class and register tokens are left out.

    Args:
        layer: whose activations A are. Left out: the family's default feature layer φ; where that returns tokens, the
            first LayerNorm of the last block, behind which a class token alone may decide.
        output: F.
        interpolation: how it is enlarged, ``bilinear`` or ``bicubic``.
        **common: as in :class:`~lightning_advinterp.explanations.explanation.Method`.
    """

    own_pass = True

    def __init__(
        self,
        *,
        layer: str | None = None,
        output: Output = "logit",
        interpolation: Interpolation = "bilinear",
        **common: Any,
    ) -> None:
        super().__init__(**{"name": "gradcam"} | common)
        self.layer, self.output = layer, check_output(output)
        self.interpolation = check_interpolation(interpolation)

    def signed(self, question: Question) -> Tensor:
        """Return the map, shared by the channels."""
        layers = feature_layers(question, self.layer, self.name)
        with taps(question.body, [*layers, *patch_cutters(question.body)]) as activations:
            score = question.score(question.leaf(), self.output)
            layer = explained_layer(layers, activations)
            layout = layer_layout(question, layer, activations, self.name)
            activation = activations[layer]
        gradient = question.gradient(score, activation)
        if layout.apart and not layout.maps(gradient).any() and gradient.any():
            raise ValueError(
                f"{self.name}: the class depends on the class token of layer {layer} and on none of its patches; name "
                f"an earlier layer, such as {last_block_input(question.body) or 'the input of the last attention'}."
            )
        weights = layout.maps(gradient).mean((2, 3), keepdim=True)
        return enlarge((weights * layout.maps(activation)).sum(1), question, self.interpolation)

    def reduce(self, signed: Tensor) -> Tensor:
        """Return relu of the map, divided by its sum."""
        return unit_sum(signed.sum(1).clamp(min=0))


class CAM(Method):
    """Σ_k W_ck A^k, with A the last feature maps and W the only layer after their global average (Zhou et al. 2016).

    A is φ's activation, or, where a function without a module (``F.relu(x)``) stands between φ and the average, what is
    averaged, with channels first or last (Swin). Plus the bias, its mean over places is the logit, which is checked. Of
    networks that end with a 1×1 convolution and a global average (SqueezeNet), the map is that convolution's output for
    the class, biases and relu included. The map is the positive part, divided by its sum.

    Args:
        interpolation: how it is enlarged, ``bilinear`` or ``bicubic``.
        **common: as in :class:`~lightning_advinterp.explanations.explanation.Method`.
    """

    own_pass = True

    def __init__(self, *, interpolation: Interpolation = "bilinear", **common: Any) -> None:
        super().__init__(**{"name": "cam"} | common)
        self.interpolation = check_interpolation(interpolation)

    def map_passes(self, size: int) -> tuple[int, int]:
        """Return one forward pass."""
        return 1, 0

    def signed(self, question: Question) -> Tensor:
        """Return the map, shared by the channels."""
        head: str | None = getattr(question.network, "head", None) or head_path(question.body)
        module = question.body.get_submodule(head) if head else None
        if head is None or not isinstance(module, nn.Linear | nn.Conv2d):
            raise self._refusal(question, head)
        layer = feature_layers(question, None, self.name)[0]
        averaged = _Averaged()
        with torch.set_grad_enabled(question.create_graph), taps(question.body, [layer, head]) as activations, averaged:
            logits = question.logits(question.z)
        logit = logits.gather(1, question.target[:, None])[:, 0]
        if head not in activations:
            raise self._refusal(question, head)
        if isinstance(module, nn.Conv2d):
            cam = activations[head][torch.arange(len(logits), device=logits.device), question.target]
            candidates, bias = [cam, F.relu(cam)], torch.zeros_like(logit)
        else:
            maps = [activations.get(layer), *averaged.inputs[::-1]]
            weight = module.weight[question.target]
            candidates = _weighted([part for part in maps if part is not None and part.dim() == 4], weight)
            bias = torch.zeros_like(logit) if module.bias is None else module.bias[question.target]
        for cam in candidates:
            if _same(cam.mean((1, 2)) + bias, logit):
                return enlarge(cam, question, self.interpolation)
        raise self._refusal(question, head)

    def reduce(self, signed: Tensor) -> Tensor:
        """Return the positive part of the map, divided by its sum."""
        return unit_sum(signed.sum(1).clamp(min=0))

    def _refusal(self, question: Question, head: str | None) -> ValueError:
        return ValueError(
            f"{self.name} needs feature maps, their global average, and one linear layer; "
            f"{type(question.body).__name__} (last layer {head or 'unknown'}) is not made like that. Take gradcam."
        )


def _weighted(maps: Sequence[Tensor], weight: Tensor) -> list[Tensor]:
    """Return Σ_k W_ck A^k of the maps that have K channels, first (``[B, K, h, w]``) or last (``[B, h, w, K]``)."""
    channels = weight.shape[1]
    first = [torch.einsum("bc,bchw->bhw", weight, activation) for activation in maps if activation.shape[1] == channels]
    last = [torch.einsum("bc,bhwc->bhw", weight, activation) for activation in maps if activation.shape[3] == channels]
    return first + last


class _Averaged(TorchFunctionMode):
    """Notes the maps ``[B, K, h, w]`` or ``[B, h, w, K]`` that are averaged, by whatever function."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        averages = function_name(func) in ("mean", "avg_pool2d", "adaptive_avg_pool2d")
        if averages and args and isinstance(args[0], Tensor) and args[0].dim() == 4:
            self.inputs.append(args[0])
        return func(*args, **kwargs or {})


def _same(mean: Tensor, logit: Tensor) -> bool:
    return bool(torch.allclose(mean.to(logit), logit, rtol=1e-3, atol=1e-3))


def check_interpolation(interpolation: str) -> Interpolation:
    """Refuse another word than bilinear or bicubic."""
    if interpolation not in ("bilinear", "bicubic"):
        raise ValueError(f"interpolation must be bilinear or bicubic, got {interpolation!r}.")
    return "bicubic" if interpolation == "bicubic" else "bilinear"


def enlarge(cam: Tensor, question: Question, interpolation: Interpolation = "bilinear") -> Tensor:
    """Return maps ``[B, h, w]`` at the images' size (half-pixel centres), shared by the channels."""
    large = F.interpolate(cam[:, None], question.z.shape[2:], mode=interpolation, align_corners=False)
    return share(large[:, 0], question.z.shape[1])
