"""Activations that overwrite their input: set to work out of place wherever that computes the same."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from lightning_advinterp.networks.dry import dry_forward


def make_out_of_place(backbone: nn.Module, *, channels: int, input_size: int) -> nn.Module:
    """Set ``inplace`` to False in the modules that have it, except where the input is read again.

    There (``x + f(relu(x))`` of a pre-activation block) the network has learnt with the overwritten input, and would
    compute something else. Such modules are found by forward passes of a small black image, in which inputs are
    overwritten by NaN after their activation: a NaN that reaches the output was read again. A backbone that cannot be
    run is left as it is.

    Args:
        backbone: is changed, and returned.
        channels: of its images.
        input_size: the side for which it is meant; smaller images, which cost less, are tried first.
    """
    parts = [part for part in backbone.modules() if getattr(part, "inplace", False) is True]
    for size in sorted({min(small, input_size) for small in (64, 128, input_size)}):
        _set(parts, False)
        try:
            _leave_what_is_read_again(backbone, parts, channels, size)
        except Exception:  # too small an image, or a network that takes others: it shows in many kinds of error
            _set(parts, True)
        else:
            break
    return backbone


def _leave_what_is_read_again(backbone: nn.Module, parts: Sequence[nn.Module], channels: int, size: int) -> None:
    """Set those of the modules back in place whose input is read again."""
    again = list(parts) if parts and _reads_again(backbone, parts, channels, size) else []
    while again:
        # once more, since what overwrites its input hands it on: others may now overwrite what is read again
        again = [part for part in parts if not part.inplace and _reads_again(backbone, [part], channels, size)]
        _set(again, True)


def _set(parts: Iterable[nn.Module], inplace: bool) -> None:
    for part in parts:
        part.inplace = inplace  # type: ignore[assignment]


def _reads_again(backbone: nn.Module, parts: Sequence[nn.Module], channels: int, size: int) -> bool:
    """Whether the output depends on what these modules have read, other than through them."""
    storages = {tensor.untyped_storage().data_ptr() for tensor in (*backbone.parameters(), *backbone.buffers())}

    def spoil(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        x = inputs[0] if inputs else None
        if not isinstance(x, Tensor) or not isinstance(output, Tensor) or not x.is_floating_point():
            return output
        memory = x.untyped_storage().data_ptr()
        if memory in storages:
            return output
        if output.untyped_storage().data_ptr() == memory:  # dropout in eval mode hands its input on
            output = output.clone()
        x.fill_(torch.nan)
        return output

    handles = [part.register_forward_hook(spoil) for part in parts]
    try:
        outputs = tree_leaves(dry_forward(backbone, channels, size))
    finally:
        for handle in handles:
            handle.remove()
    return any(isinstance(value, Tensor) and bool(value.isnan().any()) for value in outputs)
