"""What dissection looks at beside the images themselves: the controls without which its ratios say little."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_advinterp.networks.network import Network
from lightning_advinterp.randomness import mix, mixed_seed, normal

_NOISE_STREAM = 0x6E6F697365  # "noise"
_BAG, _PARTNER, _ROTATION, _WEIGHTS = range(1, 5)


def sign_noise(x: Tensor, x_adv: Tensor, keys: Tensor) -> Tensor:
    """Return images as far from ``x`` as ``x_adv`` in L∞, in a random direction: x + ‖x* − x‖∞·sign(N(0, 1)).

    Args:
        x: ``[B, 3, H, W]`` in [0, 1].
        x_adv: likewise.
        keys: int64 ``[B]``, from which the signs are drawn.
    """
    radius = (x_adv - x).flatten(1).abs().amax(1)[:, None, None, None]
    signs = normal(keys, x.shape[1:], stream=_NOISE_STREAM).sign().to(x.dtype)
    return (x + radius * signs).clamp_(0, 1)


def random_twin(network: Network, seed: int) -> Network:
    """Return a copy of a network with random weights, in evaluation mode; global random state stays as it was.

    Modules draw their weights as at their creation; parameters of modules that cannot are shuffled.
    """
    twin = copy.deepcopy(network).cpu()
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(mixed_seed(seed, _WEIGHTS))
        for module in twin.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
                continue
            for parameter in module.parameters(recurse=False):
                shuffled = parameter.flatten()[torch.randperm(parameter.numel())]
                parameter.copy_(shuffled.view_as(parameter))
    return twin.to(device).eval().requires_grad_(False)


def rotation(units: int, seed: int, place: int, like: Tensor) -> Tensor:
    """Return a random rotation of a layer's units, orthogonal ``[U, U]``, evenly distributed.

    The control of Bau et al. 2017, section 4.2: a rotated basis spans the same space, but not along its units.

    Args:
        units: U.
        seed: draws it.
        place: the layer's number, so that layers differ.
        like: its type and device are taken.
    """
    generator = torch.Generator().manual_seed(mixed_seed(seed, _ROTATION, place))
    # QR of a Gaussian matrix, with the signs that make it unique (Mezzadri 2007).
    q, r = torch.linalg.qr(torch.randn(units, units, generator=generator, dtype=torch.float64))
    turn: Tensor = q * r.diagonal().sign()
    return turn.to(like.device, like.dtype)


def rotated(maps: Tensor, turn: Tensor) -> Tensor:
    """Return maps ``[B, U, H, W]`` in the rotated basis."""
    return (turn @ maps.flatten(2)).view_as(maps)


def partners(numbers: Sequence[int], seed: int) -> dict[int, int]:
    """Return for every image another one, whose labels it is given: all images in one random cycle."""
    order = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(mixed_seed(seed, _PARTNER))).tolist()
    cycle = [numbers[place] for place in order]
    return dict(zip(cycle, cycle[1:] + cycle[:1], strict=True))


def bags(index: Tensor, groups: int, seed: int) -> Tensor:
    """Return each image's group, int64 ``[B]``: a random one that belongs to the image alone."""
    return mix(torch.zeros_like(index), seed, _BAG, index) % groups


def check_maps(layer: str, maps: Tensor) -> None:
    """Refuse what has no places, such as the tokens of a transformer."""
    if maps.dim() != 4:
        raise ValueError(
            f"layers: dissection needs maps [B, units, H, W], {layer!r} gives {tuple(maps.shape)}; "
            "name a layer whose output has its units on axis 1 and two axes of places after it."
        )
