"""What passes through a network take: measured for an image, added up for the analyses that make them."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_advinterp.analyses.base.costs import SweepCost
from lightning_advinterp.analyses.base.time_limits import limited
from lightning_advinterp.networks import Network
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.networks.smoothing import smoothed_relu

_BETA = 10.0
"""Of the softplus by which a network of relu has a second derivative; what it is does not change the time."""


@dataclass(frozen=True)
class PassSeconds:
    """Seconds that one image takes, beside others in a batch.

    Attributes:
        forward: one forward pass.
        backward: and the gradient of the logits by the image.
        second: and the gradient of that gradient.
    """

    forward: float
    backward: float
    second: float

    def of(self, passes: tuple[float, float]) -> float:
        """Return what forward and backward passes take."""
        return passes[0] * self.forward + passes[1] * (self.backward - self.forward)

    def of_analysis(self, passes: tuple[float, float]) -> float:
        """Return the same for an analysis' own, of which a gradient of a gradient counts as two backward passes."""
        return passes[0] * self.forward + passes[1] * (self.second - self.forward) / 3


def analysis_seconds(
    costs: Sequence[SweepCost], passes: PassSeconds, limits: Mapping[str, float], images: int
) -> dict[str, float]:
    """Return the seconds that the passes of every analysis take, beside those of the runs over the data.

    Args:
        costs: of these runs.
        passes: what an image takes.
        limits: analysis to the seconds that it takes at most, of those that keep a time.
        images: number of them.
    """
    seconds: dict[str, float] = defaultdict(float)
    for cost in costs:
        for analysis, counts in cost.of_analyses.items():
            seconds[analysis] += limited(passes.of_analysis(counts), limits.get(analysis), images)
    return seconds


def time_passes(network: Network, x: Tensor) -> PassSeconds:
    """Time a batch's passes, each the second time that it is made.

    Args:
        network: on its device.
        x: float32 ``[B, 3, H, W]`` in [0, 1], on the same device.
    """

    def forward() -> None:
        with torch.no_grad():
            network(x)

    def backward() -> None:
        image = x.detach().requires_grad_()
        torch.autograd.grad(network(image).sum(), image)

    def second() -> None:
        image = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(network(image).square().sum(), image, create_graph=True)
        torch.autograd.grad(gradient.square().sum(), image)

    with frozen_eval(network):
        times = [_seconds(forward, x), _seconds(backward, x)]
        with smoothed_relu(_BETA):
            times.append(_seconds(second, x))
    return PassSeconds(*times)


def _seconds(call: Callable[[], None], x: Tensor) -> float:
    call()
    wait_for(x.device)
    begun = time.perf_counter()
    call()
    wait_for(x.device)
    return (time.perf_counter() - begun) / len(x)


def wait_for(device: torch.device) -> None:
    """Return when a device has done what it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
