"""Operations whose gradients PyTorch refuses to compute on CUDA once ``trainer.deterministic`` is true."""

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from lightning_advinterp.networks.dry import dry_forward
from lightning_advinterp.networks.network import Network

REFUSED = {
    "_adaptive_avg_pool2d": "adaptive average pooling",
    "_adaptive_avg_pool3d": "adaptive average pooling",
    "adaptive_max_pool2d": "adaptive max-pooling",
    "avg_pool3d": "3-dimensional average pooling",
    "fractional_max_pool2d": "fractional max-pooling",
    "max_unpool2d": "max-unpooling",
    "upsample_bilinear2d": "bilinear interpolation",
    "upsample_bicubic2d": "bicubic interpolation",
    "reflection_pad2d": "padding by reflection",
    "grid_sampler_2d": "grid sampling",
}
"""By PyTorch's names; some of them raise in some releases only."""


class _Noting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: dict[str, None] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.names[func.overloadpacket.__name__] = None
        return func(*args, **(kwargs or {}))


def refused_operations(network: Network) -> list[str]:
    """Return which operations of a forward pass may raise in the backward pass of a deterministic training on CUDA.

    A global average (an adaptive pooling to 1x1, as in ResNets) is computed as a mean, and is none of them.
    """
    with _Noting() as noted:
        dry_forward(network, len(network.mean), network.input_size)
    return list(dict.fromkeys(REFUSED[name] for name in noted.names if name in REFUSED))
