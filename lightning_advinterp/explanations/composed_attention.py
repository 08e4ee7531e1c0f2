"""Attention as the operations that it is made of, whichever kernel or module a network calls for it."""

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_SIGNATURE = inspect.signature(F.multi_head_attention_forward)
_UNUSUAL = ("bias_k", "bias_v", "add_zero_attn", "key_padding_mask", "use_separate_proj_weight", "static_k", "static_v")


class ComposedAttention(TorchFunctionMode):
    """Calls attention's parts instead of ``F.scaled_dot_product_attention`` and ``F.multi_head_attention_forward``.

    Subclasses see every call of a function, those of the parts among them, in :meth:`call`.

    Args:
        body: the network that runs inside the block.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self._path = body, [""]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """See every call inside the block, and know the module that makes it."""
        handles = []
        try:
            for path, module in self.body.named_modules():
                handles.append(module.register_forward_pre_hook(self._entering(path)))
                handles.append(module.register_forward_hook(self._leaving, always_call=True))
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    @property
    def module(self) -> str:
        """The path of the module whose forward pass makes the present call."""
        return self._path[-1]

    def _entering(self, path: str) -> Callable[[nn.Module, Any], None]:
        def enter(module: nn.Module, inputs: Any) -> None:
            self._path.append(path)

        return enter

    def _leaving(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._path.pop()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace calls of attention by calls of its parts."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            with self:
                return composed_attention(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            call = _SIGNATURE.bind(*args, **kwargs)
            call.apply_defaults()
            with self:
                return self._multi_head(**call.arguments)
        return self.call(func, args, kwargs)

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what a call returns."""
        return func(*args, **kwargs)

    def _multi_head(self, **call: Any) -> tuple[Tensor, Tensor | None]:
        """Return what ``F.multi_head_attention_forward`` returns: tokens ``[T, B, E]`` and weights or None."""
        unusual = [name for name in _UNUSUAL if call[name] is not None and call[name] is not False]
        if unusual or call["query"].dim() != 3 or (call["training"] and call["dropout_p"] > 0):
            what = ", ".join(unusual) or "tokens without a batch, or dropout"
            raise ValueError(f"layer {self.module}: attention with {what} has no composed form here.")
        (length, batch, _), heads = call["query"].shape, call["num_heads"]
        biases = [None] * 3 if call["in_proj_bias"] is None else call["in_proj_bias"].chunk(3)
        weights = call["in_proj_weight"].chunk(3)
        query, key, value = (
            _by_head(F.linear(call[name], weight, bias), heads)
            for name, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True)
        )
        mask = call["attn_mask"]
        mask = mask.view(batch, heads, *mask.shape[1:]) if mask is not None and mask.dim() == 3 else mask
        causal = call["is_causal"] and mask is None
        attention = attention_scores(query, key, mask, is_causal=causal).softmax(-1)
        mixed = (attention @ value).permute(2, 0, 1, 3).reshape(length, batch, -1)
        output = F.linear(mixed, call["out_proj_weight"], call["out_proj_bias"])
        if not call["need_weights"]:
            return output, None
        return output, attention.mean(1) if call["average_attn_weights"] else attention


def _by_head(tokens: Tensor, heads: int) -> Tensor:
    """``[T, B, E] -> [B, heads, T, E / heads]``."""
    return tokens.reshape(*tokens.shape[:2], heads, -1).permute(1, 2, 0, 3)


def attention_scores(
    query: Tensor, key: Tensor, mask: Tensor | None = None, *, is_causal: bool = False, scale: float | None = None
) -> Tensor:
    """Return what softmax is taken of, ``scale · q kᵀ + mask``.

    Args:
        query: ``[…, L, D]``.
        key: ``[…, S, D]``.
        mask: added where it is of numbers; where it is of booleans, places that are False are left out.
        is_causal: whether a token sees itself and the tokens before it alone.
        scale: 1/√D when left out.
    """
    scores = (query * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)) @ key.transpose(-2, -1)
    if is_causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, float("-inf"))
    return scores if mask is None else scores + mask


def composed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return what ``F.scaled_dot_product_attention`` returns; arguments as there.

    Raises:
        ValueError: for dropout, whose draws no two calls share.
    """
    if dropout_p:
        raise ValueError(f"dropout_p must be 0 where attention is explained, got {dropout_p}; call network.eval().")
    if enable_gqa:
        repeats = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(repeats, -3), value.repeat_interleave(repeats, -3)
    return attention_scores(query, key, attn_mask, is_causal=is_causal, scale=scale).softmax(-1) @ value
