"""A trial pass before any work: what does not fit a network shows at once, and in the network's own words."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lightning_advinterp.core.tensor_files import first_line
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.networks.network import Network

RGB = 3
_IMAGES = 2  # batch normalisation of 1x1 maps needs more than one


def try_network(
    network: Network,
    size: int,
    *,
    gradient: bool = True,
    training: bool = False,
    remedy: str = "",
    channels: int = RGB,
) -> None:
    """Pass two random images through a network, and a gradient back to them; nothing of it stays.

    Args:
        network: in any mode, which it keeps; so do its buffers, and the global random numbers.
        size: side of the images.
        gradient: whether a gradient to the images is wanted.
        training: try the mode of training, where a backward pass is wanted whether it reaches the images or not.
        remedy: what to do where the size does not fit.
        channels: of the images.

    Raises:
        ValueError: with the network's own words, if it does not take images of that size, or passes no gradient.
    """
    if len(network.mean) != channels:
        have = "are RGB" if channels == RGB else f"have {channels}"
        raise ValueError(
            f"network: {network.name} takes {len(network.mean)}-channel images, and the images here {have}; name "
            "the path of a class of your own that makes its input from RGB and calls it."
        )
    device = next(network.parameters(), torch.zeros(())).device
    x = torch.rand(_IMAGES, channels, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    x.requires_grad_(gradient)
    mode = _training(network) if training else frozen_eval(network)
    with _undisturbed(network), mode, torch.inference_mode(False), torch.set_grad_enabled(gradient or training):
        logits = _logits(network, x, remedy)
        if gradient or (training and logits.requires_grad):
            _pass_back(network, logits, x, gradient)
        elif training:
            raise ValueError(f"network: the logits of {network.name} depend on none of its weights; nothing trains.")


def _logits(network: Network, x: Tensor, remedy: str) -> Tensor:
    size = "x".join(map(str, x.shape[1:]))
    try:
        logits: Tensor = network(x)
    except Exception as error:
        raise ValueError(
            f"network: {network.name} does not take images of {size}: {first_line(error)}. {remedy}".rstrip()
        ) from error
    if logits.shape != (_IMAGES, network.num_classes):
        raise ValueError(
            f"network: {network.name} returned logits of shape {list(logits.shape)} for {_IMAGES} images of {size}, "
            f"expected {[_IMAGES, network.num_classes]}. {remedy}".rstrip()
        )
    return logits


def _pass_back(network: Network, logits: Tensor, x: Tensor, gradient: bool) -> None:
    inputs = [x] if gradient else [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        gradients = (
            torch.autograd.grad(logits.float().sum(), inputs, allow_unused=True) if logits.requires_grad else (None,)
        )
    except RuntimeError as error:
        raise ValueError(f"network: no gradient passes through {network.name}: {first_line(error)}.") from error
    if all(part is None for part in gradients):
        raise ValueError(
            f"network: {network.name} passes no gradient to its images (it detaches them, or computes under "
            "torch.no_grad); what climbs gradients cannot work on it. Take attacks without gradients (square, "
            "random_sign, or null for none) and analyses that need none."
        )


@contextmanager
def _undisturbed(network: nn.Module) -> Iterator[None]:
    """Put buffers and the global random numbers back."""
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    devices: list[int] | None = [] if next(network.parameters(), torch.zeros(())).device.type != "cuda" else None
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)


@contextmanager
def _training(network: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in network.modules()]
    try:
        network.train()
        yield
    finally:
        for module, training in modes:
            module.training = training
