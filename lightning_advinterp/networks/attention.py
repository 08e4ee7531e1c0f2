"""Attention for the length of a ``with`` block: the kernel that has second derivatives."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def twice_differentiable_attention(needed: bool = True) -> Iterator[None]:
    """Compute attention inside the block by operations that can be differentiated twice.

    ``F.scaled_dot_product_attention``, which timm and torch's ``nn.MultiheadAttention`` call, otherwise takes fused
    kernels, whose gradient has no derivative. Inside the block it takes the composed one, and
    ``nn.MultiheadAttention`` no fast path. Only the forward pass must lie inside: derivatives follow the operations
    that it recorded. Values agree with the fused kernels' up to rounding. The choice is torch's and holds for the whole
    process; what was chosen before comes back on leaving, also after an error.

    Args:
        needed: whether the block changes anything.
    """
    if not needed:
        yield
        return
    fast_path = torch.backends.mha.get_fastpath_enabled()
    with sdpa_kernel(SDPBackend.MATH):
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_path)
