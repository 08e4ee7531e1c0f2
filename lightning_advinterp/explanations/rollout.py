"""Attention rollout: how much of each patch the tokens hold that the class is read from."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_advinterp.explanations.cam import Interpolation, check_interpolation, enlarge
from lightning_advinterp.explanations.composed_attention import ComposedAttention
from lightning_advinterp.explanations.explanation import Method
from lightning_advinterp.explanations.layer_maps import layer_layout, patch_cutters
from lightning_advinterp.explanations.question import Question
from lightning_advinterp.networks import taps
from lightning_advinterp.units.blocks import block_paths

Heads = Literal["mean", "max", "min"]
"""How the attention of a layer's heads becomes one matrix."""

_SOFTMAXES = (F.softmax, torch.softmax, Tensor.softmax)


class AttentionRollout(Method):
    """Ã_L ⋯ Ã_1 with Ã = r 1 + (1 − r) A, A a layer's attention over its heads (Abnar & Zuidema 2020).

    Rows of Ã are divided by their sums. The map is the mean row of the tokens of the last block from which the class is
    computed (the class token, both tokens of a distilled DeiT, or all patches where these are pooled), on the grid of
    patches. It is the same for every class, and not negative.

    Args:
        heads: ``mean`` over heads, as in the paper, ``max`` or ``min``.
        residual: r, the share of the residual stream; 0.5 in the paper.
        interpolation: how the map is enlarged, ``bilinear`` or ``bicubic``.
        **common: as in :class:`~lightning_advinterp.explanations.explanation.Method`.

    Reference:
        Abnar, Zuidema, Quantifying Attention Flow in Transformers, 2020, section 3.
    """

    own_pass = True

    def __init__(
        self,
        *,
        heads: Heads = "mean",
        residual: float = 0.5,
        interpolation: Interpolation = "bilinear",
        **common: Any,
    ) -> None:
        super().__init__(**{"name": "attention_rollout"} | common)
        if heads not in ("mean", "max", "min"):
            raise ValueError(f"heads must be mean, max or min, got {heads!r}.")
        if not 0 <= residual < 1:
            raise ValueError(f"residual must be in [0, 1), got {residual}.")
        self.heads: Heads = heads
        self.residual, self.interpolation = residual, check_interpolation(interpolation)

    def map_passes(self, size: int) -> tuple[int, int]:
        """Return one forward pass."""
        return 1, 0

    def signed(self, question: Question) -> Tensor:
        """Return the map, shared by the channels."""
        blocks = block_paths(question.body, [])
        if not blocks:
            raise ValueError(f"{self.name}: {type(question.body).__name__} has no blocks with attention; take gradcam.")
        weights, last = _Weights(question.body, self.name, self.heads), blocks[-1]
        readers: list[Tensor] = []

        def note(tokens: Tensor) -> Tensor:
            readers.append(tokens.detach().requires_grad_())
            return readers[-1]

        layers = [last, *patch_cutters(question.body)]
        with weights.watching(), taps(question.body, layers, replace={last: note}) as activations:
            score = question.score(question.z, "logit")
            outputs = dict(activations)
        attentions = _square(weights, self.name, readers[0])
        layout = layer_layout(question, last, outputs, self.name)
        (gradient,) = torch.autograd.grad(score.sum(), readers[0])
        row = (gradient != 0).any(2).to(attentions[0].dtype)
        row = row / row.sum(1, keepdim=True).clamp(min=1)
        for attention in reversed(attentions):  # from the left: a vector is cheaper than a matrix
            row = (row[:, None] @ self._mixed(attention))[:, 0]
        return enlarge(layout.maps(row[:, :, None])[:, 0], question, self.interpolation)

    def _mixed(self, attention: Tensor) -> Tensor:
        """Return Ã, ``[B, T, T]``."""
        eye = torch.eye(attention.shape[-1], dtype=attention.dtype, device=attention.device)
        mixed = self.residual * eye + (1 - self.residual) * attention
        return mixed / mixed.sum(-1, keepdim=True)


class _Weights(ComposedAttention):
    """Notes the attention of every layer, ``[B, T, S]``, and the module that computes it."""

    def __init__(self, body: nn.Module, method: str, heads: Heads) -> None:
        super().__init__(body)
        self.method, self.heads = method, heads
        self.attentions: list[tuple[str, Tensor]] = []

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note what softmax returns for heads."""
        output = func(*args, **kwargs)
        if func in _SOFTMAXES and output.dim() == 4:
            self.attentions.append((self.module, _over_heads(output, self.heads)))
        return output


def _over_heads(attention: Tensor, heads: Heads) -> Tensor:
    """``[B, H, T, S] -> [B, T, S]``."""
    if heads == "mean":
        return attention.mean(1)
    return attention.amax(1) if heads == "max" else attention.amin(1)


def _square(weights: _Weights, method: str, tokens: Tensor) -> list[Tensor]:
    """Return the attention of all layers, each from all tokens to all tokens.

    Raises:
        ValueError: naming the first layer whose attention is another.
    """
    expected = (len(tokens), tokens.shape[1], tokens.shape[1])
    for path, attention in weights.attentions:
        if tuple(attention.shape) != expected:
            raise ValueError(
                f"{method} multiplies attention from all tokens to all tokens, here {list(expected)}; that of layer "
                f"{path} is {list(attention.shape)}, as of windows or of some tokens. Take gradcam."
            )
    if not weights.attentions:
        raise ValueError(f"{method}: {type(weights.body).__name__} takes no softmax over tokens; take gradcam.")
    return [attention for _, attention in weights.attentions]
