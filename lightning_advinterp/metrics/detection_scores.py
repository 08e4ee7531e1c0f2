"""Scores that tell adversarial from real images, or wrong from right predictions; all are differentiable.

A score has a natural sense, written in :data:`TRUST`: 1 where a high value speaks for the image, −1 where it speaks
against it. :func:`suspicion` turns all alike: higher is more suspicious, and what is missing is the most suspicious.
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from lightning_advinterp.metrics.support import strongest_weights

TRUST: Mapping[str, int] = MappingProxyType(
    {
        "semantic_support": 1,
        "concept_disagreement": -1,
        "max_softmax": 1,
        "margin": 1,
        "energy": -1,
        "mahalanobis": -1,
        "knn": -1,
        "squeezing": -1,
        "pd_concentration": 1,
        "centre_distance": -1,
    }
)
"""Every score, and whether a high value speaks for an image (1) or against it (−1)."""


def suspicion(name: str, values: Tensor) -> Tensor:
    """Return scores with the sign turned so that higher is more suspicious; +∞ where the score is missing (NaN)."""
    return (-TRUST[name] * values).nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)


def max_softmax(logits: Tensor, label: Tensor) -> Tensor:
    """Probability of a class, ``[B, K], [B] -> [B]``; of the predicted one the baseline of Hendrycks & Gimpel 2017."""
    return logits.softmax(dim=1).gather(1, label[:, None]).squeeze(1)


def margin(logits: Tensor, label: Tensor) -> Tensor:
    """z_c − max_{j≠c} z_j of a class, ``[B]``: of the predicted one the distance between the two highest logits."""
    largest_other = logits.scatter(1, label[:, None], -torch.inf).amax(dim=1)
    return logits.gather(1, label[:, None]).squeeze(1) - largest_other


def energy(logits: Tensor) -> Tensor:
    """−log Σ exp z, ``[B]`` (Liu et al. 2020, with temperature 1): low where the network knows an image well."""
    return -logits.logsumexp(dim=1)


def prediction_differences(features: Tensor, weight: Tensor, label: Tensor) -> Tensor:
    """Return the prediction difference of every unit, in logits: z_c(x) − z_c(x without the unit) = w_{c,i} a_i.

    Exact where ``features`` are what a linear last layer reads. Its bias cancels.

    Args:
        features: ``[B, U]``.
        weight: of the last layer, ``[K, U]``.
        label: int64 ``[B]``, the classes.

    Returns:
        ``[B, U]``.
    """
    return features * weight.to(features)[label]


def concentration(differences: Tensor, count: int) -> Tensor:
    """Return the share that the ``count`` strongest units have in all that speaks for a class, ``[B, U] -> [B]``.

    NaN where no unit speaks for it.
    """
    positive = differences.clamp(min=0)
    return positive.topk(min(count, positive.shape[1]), dim=1).values.sum(1) / positive.sum(1)


def soft_strongest_weights(differences: Tensor, count: int, temperature: float) -> Tensor:
    """Return a smooth relaxation of :func:`~lightning_advinterp.metrics.support.strongest_weights`.

    Among the strongest units alone, a gradient knows nothing of those that would take their place. Here every unit
    that speaks for the class is weighted by σ((d − t)/(T·t)): t is half way between the last difference that counts
    and the first that does not, and is no function of the image.

    Args:
        differences: ``[B, U]``; NaN for a unit that is left out.
        count: m.
        temperature: T; with T → 0 the weights become those of the m strongest units.

    Returns:
        ``[B, U]``, each row summing to 1; NaN where no unit speaks for the class.
    """
    positive = differences.nan_to_num(nan=0.0).clamp(min=0)
    if count >= positive.shape[1]:
        return strongest_weights(differences, count)
    top = positive.detach().topk(count + 1, dim=1).values
    # where fewer than m units speak for the class the threshold would be 0, and all would be divided by it
    threshold = torch.maximum(top[:, -2:].mean(dim=1, keepdim=True), 1e-6 * top[:, :1]).clamp(min=1e-30)
    weights = positive * torch.sigmoid((positive - threshold) / (temperature * threshold))
    return weights / weights.sum(dim=1, keepdim=True)


def reduce_bits(images: Tensor, bits: int) -> Tensor:
    """Return images in [0, 1] with so many bits per channel; the gradient passes as if nothing were rounded (BPDA)."""
    levels = 2**bits - 1
    rounded: Tensor = (images.detach() * levels).round() / levels
    return torch.add(images, (rounded - images).detach()) if images.requires_grad else rounded


def median_filter(images: Tensor, size: int = 2) -> Tensor:
    """Return the median of ``size`` × ``size`` pixels, mirrored at the borders, as scipy's ``median_filter`` does.

    Of an even number of values the upper of the two middle ones is taken. A gradient passes to the chosen pixel.
    """
    before, after = size // 2, size - 1 - size // 2
    # scipy's "reflect" repeats the border pixel; torch's does not
    padded = images
    for dim in (2, 3):
        first = padded.narrow(dim, 0, before).flip(dim)
        last = padded.narrow(dim, padded.shape[dim] - after, after).flip(dim)
        padded = torch.cat([first, padded, last], dim=dim)
    windows = padded.unfold(2, size, 1).unfold(3, size, 1).flatten(4)
    return windows.sort(dim=-1).values.select(-1, size * size // 2)


def squeezed(images: Tensor, bits: int, size: int) -> tuple[Tensor, Tensor]:
    """Return both squeezed versions of the images: fewer bits, and a median filter."""
    return reduce_bits(images, bits), median_filter(images, size)


def squeezing(logits: Tensor, *squeezed_logits: Tensor) -> Tensor:
    """Return the largest ‖p(x) − p(squeezed x)‖₁ over the squeezers, ``[B, K]`` each ``-> [B]`` (Xu et al. 2018)."""
    p = logits.softmax(dim=1)
    return torch.stack([(p - z.softmax(dim=1)).abs().sum(1) for z in squeezed_logits]).amax(0)
