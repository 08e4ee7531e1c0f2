"""Where in an image a unit looks: the discrepancy map of Zhou et al. 2015."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from lightning_advinterp.core.randomness import mix, uniform
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.until import forward_until

Fill = Literal["random", "mean", "grey"]
Position = Literal["argmax", "max"]
_STREAM = 0x6F63636C  # "occl"


def occluder_positions(length: int, size: int, stride: int) -> Tensor:
    """Return the first pixels of occluders along one side: every ``stride``, and one flush with the end.

    Args:
        length: of the side, in pixels.
        size: of the occluder.
        stride: between occluders.

    Returns:
        int64 ``[G]``; 72 of them for 224 pixels, size 11 and stride 3.
    """
    if not 1 <= size <= length or stride < 1:
        raise ValueError(
            f"size must be 1 to {length} pixels, the image's side, and stride 1 or more; got {size}, {stride}."
        )
    places = torch.arange(0, length - size + 1, stride)
    last = length - size
    return places if int(places[-1]) == last else torch.cat([places, torch.tensor([last])])


def coverage(positions: Tensor, length: int, size: int) -> Tensor:
    """Return float64 ``[G, length]``: 1 where occluder g covers a pixel."""
    pixels = torch.arange(length)
    return ((pixels >= positions[:, None]) & (pixels < positions[:, None] + size)).double()


@torch.no_grad()
def discrepancy_map(
    network: Network,
    x: Tensor,
    layer: str,
    units: Tensor,
    keys: Tensor,
    *,
    size: int = 11,
    stride: int = 3,
    fill: Fill = "random",
    position: Position = "argmax",
    batch_size: int = 128,
    maps: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return how much a unit's activation changes when a small patch around each pixel is hidden.

    ``D(u, v)`` is the mean of ``|a(x) − a(x_occluded)|`` over the occluders that cover pixel (u, v) (Zhou et al. 2015,
    Section 3.2: 11 × 11 patches of random pixels on a dense grid of stride 3, about 5,000 of an image). The forward
    passes end at the layer. Where the paper is silent: ``a`` is read where the unit was largest in the unhidden image
    (``position="max"`` follows the maximum instead), the pixels of an occluder are uniform in [0, 1] and differ from
    occluder to occluder, and one more occluder stands flush with the border where the stride does not end there.

    Args:
        network: seen in evaluation mode; comes back as it was.
        x: images ``[B, 3, H, W]`` in [0, 1].
        layer: a path in the backbone.
        units: int64 ``[B]``, the unit that is asked about in each image.
        keys: int64 ``[B]``, where the random pixels come from.
        size: side of an occluder in pixels.
        stride: between occluders.
        fill: ``random``, ``mean`` (of the image, per channel) or ``grey`` (0.5).
        position: where the activation is read.
        batch_size: occluded copies at a time, which bounds memory.
        maps: from what the layer returns to ``[B, U, h, w]``; None where it returns that.

    Returns:
        float32 ``[B, H, W]``, in the activation's unit, 0 or more.

    Raises:
        ValueError: if an argument is out of its range, or the layer has no maps.
    """
    if fill not in ("random", "mean", "grey") or position not in ("argmax", "max"):
        raise ValueError(f"fill must be random, mean or grey and position argmax or max, got {fill!r}, {position!r}.")

    def read_maps(images: Tensor) -> Tensor:
        output = forward_until(network, images, layer)
        return output if maps is None else maps(output)

    with frozen_eval(network):
        discrepancies = [
            _one_map(read_maps, image, layer, int(unit), key, size, stride, fill, position, batch_size)
            for image, unit, key in zip(x, units, torch.split(keys, 1), strict=True)
        ]
    return torch.stack(discrepancies)


def _one_map(
    read_maps: Callable[[Tensor], Tensor],
    image: Tensor,
    layer: str,
    unit: int,
    key: Tensor,
    size: int,
    stride: int,
    fill: Fill,
    position: Position,
    batch_size: int,
) -> Tensor:
    height, width = image.shape[1:]
    tops = occluder_positions(height, size, stride)
    lefts = occluder_positions(width, size, stride)
    reference = read_maps(image[None])
    if reference.dim() != 4 or not 0 <= unit < reference.shape[1]:
        raise ValueError(
            f"layer {layer!r} returns {tuple(reference.shape[1:])}: a discrepancy map needs maps and a unit in range, "
            f"got unit {unit}."
        )
    flat = reference[0, unit].flatten()
    place = int(flat.argmax())
    count = len(tops) * len(lefts)
    rows, columns = tops.repeat_interleave(len(lefts)).to(image.device), lefts.repeat(len(tops)).to(image.device)
    offsets = torch.arange(size, device=image.device)
    channels = torch.arange(len(image), device=image.device)[None, :, None, None]
    changes = []
    for numbers in torch.split(torch.arange(count, device=image.device), batch_size):
        copies = image.expand(len(numbers), -1, -1, -1).clone()
        where = (
            torch.arange(len(numbers), device=image.device)[:, None, None, None],
            channels,
            (rows[numbers, None] + offsets)[:, None, :, None],
            (columns[numbers, None] + offsets)[:, None, None, :],
        )
        copies[where] = _pixels(image, numbers, key, size, fill)
        activation = read_maps(copies)[:, unit].flatten(1)
        now = activation[:, place] if position == "argmax" else activation.amax(dim=1)
        changes.append((flat[place] - now).abs().double())
    grid = torch.cat(changes).view(len(tops), len(lefts)).cpu()
    down, across = coverage(tops, height, size), coverage(lefts, width, size)
    total = down.T @ grid @ across
    covered = down.sum(0)[:, None] * across.sum(0)[None]  # strides beyond the occluder's side leave pixels uncovered
    return torch.where(covered > 0, total / covered.clamp_min(1), 0.0).float().to(image.device)


def _pixels(image: Tensor, numbers: Tensor, key: Tensor, size: int, fill: Fill) -> Tensor:
    """What stands in the occluders' place: ``[b, C, size, size]``, or something that expands to it."""
    if fill == "grey":
        return image.new_full((1,), 0.5)
    if fill == "mean":
        return image.mean(dim=(1, 2))[None, :, None, None]
    keys = mix(key.expand(len(numbers)), numbers)
    return uniform(keys, (len(image), size, size), stream=_STREAM).to(image)
