"""Whether a map shows what the output rests on: deletion and insertion curves (Petsiuk et al. 2018, RISE)."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from lightning_advinterp.metrics.heatmaps import says_nothing

Score = Callable[[Tensor], Tensor]
"""Images ``[B, C, H, W]`` to the explained output ``[B]``, such as the class' probability."""


def replacement_curve(score: Score, begin: Tensor, end: Tensor, maps: Tensor, steps: int) -> Tensor:
    """Return the output while the pixels of one image are replaced by another's, the most relevant ones first.

    Deletion goes from the image to one without content, and a good map makes the output fall early. Insertion goes from
    a blurred image to the image, and a good map makes it rise early.

    Args:
        score: the output.
        begin: images ``[B, C, H, W]``.
        end: likewise.
        maps: relevance ``[B, H, W]``; of equal values the first in reading order is replaced first.
        steps: after step s the share s/steps of the places is replaced.

    Returns:
        ``[B, steps + 1]``, from ``begin`` to ``end``.

    Raises:
        ValueError: for shapes that differ, or no step.

    >>> image, nothing = torch.tensor([[[[4.0, 3.0], [2.0, 1.0]]]]), torch.zeros(1, 1, 2, 2)
    >>> replacement_curve(lambda x: x.sum((1, 2, 3)), image, nothing, image[:, 0], 4)
    tensor([[10.,  6.,  3.,  1.,  0.]])
    """
    if begin.dim() != 4 or begin.shape != end.shape or maps.shape != (len(begin), *begin.shape[2:]):
        raise ValueError(
            f"begin and end must be images [B, C, H, W] and maps [B, H, W] of the same places, got "
            f"{tuple(begin.shape)}, {tuple(end.shape)} and {tuple(maps.shape)}."
        )
    if steps < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}.")
    flat = maps.flatten(1)
    order = flat.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(flat.shape[1], device=maps.device).expand_as(order)
    rank = torch.empty_like(order).scatter_(1, order, places).view_as(maps)[:, None]
    with torch.no_grad():
        values = [
            score(torch.where(rank < round(flat.shape[1] * step / steps), end, begin)) for step in range(steps + 1)
        ]
    return torch.stack(values, 1)


def area(curve: Tensor) -> Tensor:
    """Return the area under a curve over the share of replaced places, ``[B, S + 1] -> [B]``, by trapezoids."""
    return (curve[:, 1:] + curve[:, :-1]).mean(1) / 2


def deletion_insertion(
    score: Score, x: Tensor, maps: Tensor, mean: Tensor, steps: int = 16, *, sigma: float = 5.0
) -> tuple[Tensor, Tensor]:
    """Return the areas under the deletion curve (lower is better) and the insertion curve (higher is better).

    As in RISE, deleted pixels become the mean image, and insertion begins with the image blurred by a Gaussian of 11
    pixels with the given σ. Both are NaN where a map is constant: its order is the reading order, not the map's.

    Args:
        score: the output.
        x: images ``[B, C, H, W]``.
        maps: ``[B, H, W]``.
        mean: pixel values without content, ``[C, 1, 1]``.
        steps: forward passes of each curve, less one.
        sigma: of the blur, in pixels.
    """
    blurred: Tensor = gaussian_blur(x, [11, 11], [sigma, sigma])
    deletion = area(replacement_curve(score, x, mean.to(x).expand_as(x).contiguous(), maps, steps))
    insertion = area(replacement_curve(score, blurred, x, maps, steps))
    silent = says_nothing(maps)
    return deletion.masked_fill(silent, torch.nan), insertion.masked_fill(silent, torch.nan)
