"""BatchNorm over the images of all processes, on any device."""

from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm


class _SumOverProcesses(torch.autograd.Function):
    """Σ over the processes; the gradient of what all of them make of the sum is a sum over them, too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


class SyncBatchNorm(_BatchNorm):
    """BatchNorm over the images of all processes: torch's own on GPUs, a plain implementation on a CPU.

    (torch's ``SyncBatchNorm`` and DDP around it refuse the CPU, so this one is not derived from it.)

    With batch statistics every forward pass waits for the other processes, and so does every backward pass: all of
    them must make the same passes in the same order, those of an attack included.
    """

    process_group = None
    _check_non_zero_input_channels = nn.SyncBatchNorm._check_non_zero_input_channels

    def _check_input_dim(self, input: Tensor) -> None:
        nn.SyncBatchNorm._check_input_dim(self, input)  # type: ignore[arg-type]

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``[B, C, …]`` by mean and variance of the images of all processes (B may differ)."""
        if not self.training or not torch.distributed.is_initialized():
            return super().forward(input)
        if input.device.type != "cpu":
            return nn.SyncBatchNorm.forward(self, input)  # type: ignore[arg-type]
        axes = [axis for axis in range(input.dim()) if axis != 1]
        values = input if input.dtype == torch.float64 else input.float()
        count = values.new_full((1,), values.numel() / values.shape[1])
        sums = torch.cat([values.sum(axes), count])
        total = _SumOverProcesses.apply(sums)
        count, mean = total[-1].detach(), total[:-1] / total[-1].detach()
        centred = values - _along_channels(mean, values)
        var = _SumOverProcesses.apply(centred.square().sum(axes)) / count
        if self.track_running_stats:
            self._track(mean.detach(), var.detach() * count / (count - 1))
        scale = (var + self.eps).rsqrt()
        normal = centred * _along_channels(scale, values)
        if self.affine:
            normal = normal * _along_channels(self.weight, values) + _along_channels(self.bias, values)
        return normal.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(var.to(self.running_var.dtype), share)


def synchronize_batch_norm(network: nn.Module) -> None:
    """Make every BatchNorm of a network a :class:`SyncBatchNorm`.

    Each stays the same object, so that hooks on it and optimisers of its weights are undisturbed.

    Raises:
        ValueError: if a layer derived from BatchNorm computes by itself (timm's BatchNorm with an activation): torch's
            own conversion would drop what it adds.
    """
    layers = [(name, module) for name, module in network.named_modules() if isinstance(module, _BatchNorm)]
    special = [f"{name} ({type(module).__name__})" for name, module in layers if not _is_plain(module)]
    if special:
        raise ValueError(
            f"sync_batchnorm must stay false for this network: {', '.join(special[:3])} of its {len(layers)} BatchNorm "
            "layers compute by themselves and cannot be synchronised."
        )
    for _, module in layers:
        if not isinstance(module, SyncBatchNorm):
            module._own_class = type(module)  # type: ignore[assignment]
            module.__class__ = SyncBatchNorm


def desynchronize_batch_norm(network: nn.Module) -> None:
    """Undo :func:`synchronize_batch_norm`."""
    for module in network.modules():
        if isinstance(module, SyncBatchNorm):
            kind = module._own_class
            del module._own_class
            module.__class__ = kind  # type: ignore[assignment]


def is_synchronized(network: nn.Module) -> bool:
    """Whether a BatchNorm of the network waits for other processes."""
    return any(isinstance(module, SyncBatchNorm) for module in network.modules())


def _is_plain(module: _BatchNorm) -> bool:
    return type(module).forward in (_BatchNorm.forward, SyncBatchNorm.forward)


def _along_channels(value: Tensor, like: Tensor) -> Tensor:
    return value.view(1, -1, *[1] * (like.dim() - 2))
