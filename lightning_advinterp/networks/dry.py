"""One forward pass of a black image, to see what a network's modules return."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.networks.sites import layer_names


def dry_forward(backbone: nn.Module, channels: int, size: int, note: Callable[[str, Any], None] | None = None) -> Any:
    """Return the output for one black image, in eval mode and without a graph.

    Args:
        backbone: any module from ``[1, C, H, W]``.
        channels: C.
        size: H and W.
        note: called with each module's path and what it returned, as the modules finish.
    """
    parameter = next(backbone.parameters(), torch.zeros(()))
    image = torch.zeros(1, channels, size, size, device=parameter.device, dtype=parameter.dtype)
    handles = []
    try:
        if note is not None:
            for path in layer_names(backbone):
                handles.append(backbone.get_submodule(path).register_forward_hook(_noting(note, path)))
        with torch.no_grad(), frozen_eval(backbone):
            return backbone(image)
    finally:
        for handle in handles:
            handle.remove()


def _noting(note: Callable[[str, Any], None], path: str) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        note(path, output)

    return hook
