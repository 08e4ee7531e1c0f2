"""How alike two maps are: pure functions of batches ``[B, H, W]``, computed in float64, one number per pair.

A constant map ranks no place: compared with itself it would count as perfectly stable. So every measure of a pair is
NaN, that is missing, where either map says nothing (:func:`says_nothing`).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def says_nothing(maps: Tensor) -> Tensor:
    """Return whether a map ranks no place above another, bool ``[B]``: all values are equal, or one is not finite.

    >>> says_nothing(torch.tensor([[[0.0, 0.0]], [[0.5, 0.5]], [[0.0, 1.0]], [[0.0, float("nan")]]]))
    tensor([ True,  True, False,  True])
    """
    flat = maps.flatten(1)
    return (flat == flat[:, :1]).all(1) | ~flat.isfinite().all(1)


def silent_when(before: Tensor, after: Tensor) -> list[str | None]:
    """Return when each pair lacks a map that says something: ``before``, ``after``, at ``both`` times, or None."""
    words = {(True, True): "both", (True, False): "before", (False, True): "after"}
    return [words.get(pair) for pair in zip(says_nothing(before).tolist(), says_nothing(after).tolist(), strict=True)]


def top_k_intersection(first: Tensor, second: Tensor, k: int) -> Tensor:
    """|B_k(h) ∩ B_k(h')| / k, with B_k the places of the k largest values; of equal ones the first in reading order.

    Args:
        first: ``[B, H, W]``.
        second: likewise.
        k: 1,000 for ImageNet in Ghorbani et al. 2019; at most H·W.

    Returns:
        ``[B]`` in [0, 1]; 1 for the same places; NaN where a map says nothing.

    Raises:
        ValueError: for shapes that differ, or another k.

    >>> h = torch.tensor([[[4.0, 3.0], [2.0, 1.0]]])
    >>> top_k_intersection(h, h.flip(1), 2), top_k_intersection(h, h.flip(2), 2)
    (tensor([0.], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """
    a, b = _flat(first, second)
    if not 1 <= k <= a.shape[1]:
        raise ValueError(f"k must be from 1 to the number of places, {a.shape[1]}, got {k}.")
    chosen = torch.zeros(2, *a.shape, dtype=torch.bool, device=a.device)
    for mask, values in zip(chosen, (a, b), strict=True):
        mask.scatter_(1, values.argsort(dim=1, descending=True, stable=True)[:, :k], True)
    return _where_both_speak((chosen[0] & chosen[1]).sum(1).double() / k, a, b)


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's ρ: the correlation of average ranks, ``[B]`` in [−1, 1]; NaN where a map is constant."""
    a, b = _flat(first, second)
    return _where_both_speak(_correlation(average_ranks(a), average_ranks(b)), a, b)


def kendall(first: Tensor, second: Tensor) -> Tensor:
    """Kendall's τ-b, ``[B]`` in [−1, 1]; NaN where a map is constant.

    O(n log² n) by counting inversions (Knight 1966), for all pairs of the batch at once.
    """
    a, b = (_dense_ranks(values) for values in _flat(first, second))
    n = a.shape[1]
    order = (a * n + b).argsort(dim=1)
    pairs = n * (n - 1) // 2
    ties_a, ties_b, ties = (_tied_pairs(values) for values in (a, b, a * n + b))
    concordant_minus_discordant = pairs - ties_a - ties_b + ties - 2 * _inversions(b.gather(1, order))
    scale = ((pairs - ties_a).double() * (pairs - ties_b).double()).sqrt()
    return _where_both_speak(concordant_minus_discordant / scale, first, second)


def pearson(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's correlation (PCC), ``[B]`` in [−1, 1]; NaN where a map is constant."""
    return _correlation(*_flat(first, second))


def mean_squared_error(first: Tensor, second: Tensor) -> Tensor:
    """The mean over places of (h − h')², ``[B]``; NaN where one is constant; of maps of sum 1 in the order 1/(H·W)²."""
    a, b = _flat(first, second)
    return _where_both_speak((a - b).square().mean(1), a, b)


def centre(maps: Tensor) -> Tensor:
    """The centre of mass Σ h_ij (i, j) / Σ h, ``[B, H, W] -> [B, 2]``: row and column in pixels; NaN for zeros.

    Differentiable. (Ghorbani's code truncates it to whole pixels.)
    """
    total = maps.sum((1, 2))
    rows = torch.arange(maps.shape[1], device=maps.device, dtype=maps.dtype)
    columns = torch.arange(maps.shape[2], device=maps.device, dtype=maps.dtype)
    return torch.stack([maps.sum(2) @ rows / total, maps.sum(1) @ columns / total], dim=1)


def centre_shift(first: Tensor, second: Tensor, *, relative: bool = False) -> Tensor:
    """How far the centre of mass moves, ‖C − C'‖₂, ``[B]`` in pixels, or as a share of the diagonal √(H² + W²).

    NaN where a map is constant.
    """
    a, b = _flat(first, second)
    shift: Tensor = torch.linalg.vector_norm(centre(first.double()) - centre(second.double()), dim=1)
    return _where_both_speak(shift / math.hypot(*first.shape[1:]) if relative else shift, a, b)


def ssim(first: Tensor, second: Tensor, *, data_range: Tensor | float | None = None) -> Tensor:
    """Structural similarity, the mean over all windows inside the map (Wang et al. 2004).

    Windows of 11 × 11, Gaussian with σ = 1.5; K₁ = 0.01, K₂ = 0.03; covariances of the population. This is
    scikit-image's ``structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)``; other
    variants differ by up to 0.07 on smooth maps.

    Args:
        first: ``[B, H, W]``, at least 11 × 11.
        second: likewise.
        data_range: L, ``[B]`` or one number; the largest value of either map when left out.

    Returns:
        ``[B]``, at most 1; NaN where a map is constant, unless ``data_range`` says on what scale its value counts.

    Raises:
        ValueError: for shapes that differ or are too small.
    """
    flat, flat_second = _flat(first, second)
    size = 11
    if min(first.shape[1:]) < size:
        raise ValueError(f"ssim needs maps of at least {size} x {size}, got {tuple(first.shape[1:])}.")
    a, b = first.double()[:, None], second.double()[:, None]
    scaled = data_range is not None
    if data_range is None:
        data_range = torch.maximum(a.amax((1, 2, 3)), b.amax((1, 2, 3)))
    span = torch.as_tensor(data_range, dtype=a.dtype, device=a.device).expand(len(a))[:, None, None, None]
    places = torch.arange(size, device=a.device, dtype=a.dtype) - size // 2
    weights = torch.exp(-places.square() / (2 * 1.5**2))
    weights = weights / weights.sum()

    def smooth(x: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(x, weights[None, None, :, None]), weights[None, None, None, :])

    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a * a) - mean_a.square(), smooth(b * b) - mean_b.square()
    covariance = smooth(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * span).square(), (0.03 * span).square()
    top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity = (top / ((mean_a.square() + mean_b.square() + c1) * (var_a + var_b + c2))).mean((1, 2, 3))
    return similarity if scaled else _where_both_speak(similarity, flat, flat_second)


def default_k(maps: Tensor) -> int:
    """Return k for maps ``[B, H, W]``: 1,000 from 10,000 places on (ImageNet), 100 from 1,000 (CIFAR), else a tenth."""
    places = maps.shape[1] * maps.shape[2]
    return 1000 if places >= 10_000 else 100 if places >= 1000 else max(places // 10, 1)


def compare_maps(first: Tensor, second: Tensor, *, k: int | None = None) -> dict[str, Tensor]:
    """Return all measures of pairs of maps by name, ``[B]`` each, NaN where a map is constant.

    ``k`` is :func:`default_k` when left out.
    """
    return {
        "topk": top_k_intersection(first, second, default_k(first) if k is None else k),
        "spearman": spearman(first, second),
        "kendall": kendall(first, second),
        "center_shift": centre_shift(first, second),
        "center_shift_relative": centre_shift(first, second, relative=True),
        "ssim": ssim(first, second),
        "pcc": pearson(first, second),
        "mse": mean_squared_error(first, second),
    }


def compare_to_target(maps: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Return how near maps are to a target map, ``[B]`` each; NaN where the map is constant.

    A constant target (the uniform one) is a target like others: only the correlations with it do not exist.
    """
    a, b = _flat(maps, target)
    nearness = {
        "spearman": spearman(maps, target),
        "pcc": pearson(maps, target),
        "ssim": ssim(maps, target, data_range=torch.maximum(a.amax(1), b.amax(1))),
        "mse": (a - b).square().mean(1),
    }
    return {name: _where_both_speak(value, a) for name, value in nearness.items()}


def compare_inputs(x: Tensor, x_adv: Tensor, logits: Tensor, logits_adv: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Return what belongs beside every number of fragility: what the perturbation did to input and prediction.

    Args:
        x: ``[B, C, H, W]`` in [0, 1].
        x_adv: likewise.
        logits: ``[B, K]`` at ``x``.
        logits_adv: at ``x_adv``.
        target: int64 ``[B]``, the explained class.

    Returns:
        ``label_kept``, bool ``[B]``: the predicted class is the same; ``delta_p``: |Δp| of the explained class;
        ``delta_output``: ‖Δp‖₂ over all classes, from 0 to √2; ``linf`` and ``l2``: norms of the perturbation.
    """
    delta = (x_adv - x).flatten(1).double()
    change = logits_adv.double().softmax(1) - logits.double().softmax(1)
    return {
        "label_kept": logits.argmax(1) == logits_adv.argmax(1),
        "delta_p": change.gather(1, target[:, None])[:, 0].abs(),
        "delta_output": change.norm(dim=1),
        "linf": delta.abs().amax(1),
        "l2": delta.norm(dim=1),
    }


def compare_images(x: Tensor, x_adv: Tensor) -> dict[str, Tensor]:
    """Return how alike image and perturbed image are, as Dombrowski et al. 2019 report beside their maps.

    Args:
        x: ``[B, C, H, W]`` in [0, 1], at least 11 × 11.
        x_adv: likewise.

    Returns:
        ``image_ssim``: the mean over channels of :func:`ssim` with the range 1; ``image_pcc`` and ``image_mse``:
        :func:`pearson` and :func:`mean_squared_error` of all values.
    """
    flat, flat_adv = x.flatten(2), x_adv.flatten(2)
    channels = ssim(x.flatten(0, 1), x_adv.flatten(0, 1), data_range=1.0).view(x.shape[:2])
    return {
        "image_ssim": channels.mean(1),
        "image_pcc": pearson(flat, flat_adv),
        "image_mse": (flat.double() - flat_adv.double()).square().mean((1, 2)),  # of a constant image too
    }


def average_ranks(values: Tensor) -> Tensor:
    """Return ranks from 1, of equal values their average, ``[B, n] -> [B, n]`` float64."""
    ordered, order = values.sort(dim=1)
    below = torch.searchsorted(ordered, ordered, side="left")
    upto = torch.searchsorted(ordered, ordered, side="right")
    return torch.empty_like(values, dtype=torch.float64).scatter_(1, order, (below + upto + 1).double() / 2)


def _flat(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    if first.dim() != 3 or first.shape != second.shape:
        raise ValueError(
            f"maps must be two batches [B, H, W] of one shape, got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    return first.flatten(1).double(), second.flatten(1).double()


def _where_both_speak(values: Tensor, *maps: Tensor) -> Tensor:
    """Return values ``[B]`` of maps, NaN where one of the maps says nothing."""
    silent = torch.stack([says_nothing(each) for each in maps]).any(0)
    return values.masked_fill(silent, torch.nan)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    x, y = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    correlation = (x * y).sum(1) / (x.square().sum(1) * y.square().sum(1)).sqrt()
    return _where_both_speak(correlation.clamp(-1, 1), a, b)


def _dense_ranks(values: Tensor) -> Tensor:
    """Return int64 ranks from 0, equal ones for equal values."""
    ordered, order = values.sort(dim=1)
    rises = torch.zeros_like(order)
    rises[:, 1:] = (ordered[:, 1:] != ordered[:, :-1]).long()
    return torch.empty_like(order).scatter_(1, order, rises.cumsum(1))


def _tied_pairs(values: Tensor) -> Tensor:
    """Return the number of pairs of equal values, ``[B, n] -> [B]``: every value is tied with those before it."""
    ordered = values.sort(dim=1).values
    place = torch.arange(values.shape[1], device=values.device)
    return (place - torch.searchsorted(ordered, ordered, side="left")).sum(1)


def _inversions(values: Tensor) -> Tensor:
    """Return the number of pairs i < j with v_i > v_j, ``[B, n] -> [B]``, merging sorted runs."""
    batch, n = values.shape
    length = 1 << max(n - 1, 1).bit_length()
    runs = F.pad(values, (0, length - n), value=n)  # ranks are below n: the padding stays last
    count = torch.zeros(batch, dtype=torch.int64, device=values.device)
    width = 1
    while width < length:
        left, right = runs.view(batch, -1, 2, width).unbind(2)
        left, right = left.contiguous(), right.contiguous()
        smaller = torch.searchsorted(left, right, side="right")  # how many of the left are not larger
        count += (width - smaller).sum((1, 2))
        width *= 2
        runs = runs.view(batch, -1, width).sort(dim=2).values.view(batch, length)
    return count
