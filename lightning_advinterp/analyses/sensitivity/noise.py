"""Noise as large as an attack: image kinds beside it, without which its effect on units says little."""

import torch
from torch import Tensor

from lightning_advinterp.core.randomness import normal

NOISES = ("noise_linf", "noise_l2")
"""The image kinds beside every attack: ``<attack>~noise_linf`` and ``<attack>~noise_l2``."""

_SIGNS, _GAUSS = 0x7369676E, 0x67617573  # "sign", "gaus"


def noise_kind(attack: str, noise: str) -> str:
    """Return the name of an attack's noise among the image kinds."""
    return f"{attack}~{noise}"


def noisy_images(x: Tensor, x_adv: Tensor, keys: Tensor, noise: str) -> Tensor:
    """Return images as far from ``x`` as ``x_adv``, in a random direction.

    ``noise_linf``: random signs times the attack's L∞ distance. ``noise_l2``: a Gaussian direction as long as the
    attack's L2 distance. The box [0, 1] cuts pixels off; L2 noise is lengthened until its distance is the attack's
    nevertheless. Where a direction leads out of the box too early for that, every pixel turns to its wider side, in
    which there is room for whatever the attack found room for.

    Args:
        x: ``[B, 3, H, W]`` in [0, 1].
        x_adv: likewise.
        keys: int64 ``[B]``, from which directions are drawn.
        noise: one of :data:`NOISES`.
    """
    flat, delta = x.flatten(1).double(), (x_adv.double() - x.double()).flatten(1)
    if noise == "noise_linf":
        direction = normal(keys, x.shape[1:], stream=_SIGNS).flatten(1).double().sign()
        far = delta.abs().amax(1, keepdim=True)
        reached = _room(flat, direction).amax(1, keepdim=True) >= far
    else:
        direction = normal(keys, x.shape[1:], stream=_GAUSS).flatten(1).double()
        far = delta.norm(dim=1, keepdim=True)
        reached = _room(flat, direction).norm(dim=1, keepdim=True) >= far
    wider = direction.abs() * torch.where(flat < 0.5, 1.0, -1.0)
    direction = torch.where(reached, direction, wider)
    length = far if noise == "noise_linf" else _length(direction, _room(flat, direction), far)
    return (flat + length * direction).clamp(0, 1).view_as(x).to(x.dtype)


def _room(x: Tensor, direction: Tensor) -> Tensor:
    """Return how far each pixel can go in its direction before it leaves [0, 1]."""
    room = torch.where(direction > 0, 1 - x, x)
    return room.where(direction != 0, 0.0)


def _length(direction: Tensor, room: Tensor, far: Tensor) -> Tensor:
    """Return s with ‖min(s·|d|, room)‖₂ = far, ``[B, 1]``.

    The squared norm is a sum of s²d² over pixels inside the box and of room² over those that are cut off. Solving for
    s with the pixels cut off so far cuts off more of them, never fewer, so the search ends when none is added.
    """
    size = direction.abs()
    length = far / size.norm(dim=1, keepdim=True).clamp(min=torch.finfo(size.dtype).tiny)
    cut = length * size > room
    while True:
        remaining = (far.square() - room.square().where(cut, 0.0).sum(1, keepdim=True)).clamp(min=0)
        inside = size.square().where(~cut, 0.0).sum(1, keepdim=True)
        length = torch.where(inside > 0, (remaining / inside.clamp(min=torch.finfo(size.dtype).tiny)).sqrt(), length)
        wider_cut = cut | (length * size > room)
        if bool((wider_cut == cut).all()):
            return length
        cut = wider_cut
