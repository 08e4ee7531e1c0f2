"""What smoothing by softplus of β leaves of maps' manipulability, accuracy and curvature (Dombrowski et al. 2019)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_advinterp.analyses.curvature.swept_networks import SweptNetwork
from lightning_advinterp.analyses.fragility.tables import summarised
from lightning_advinterp.attacks.explanation.builders import climb
from lightning_advinterp.attacks.explanation.dissimilarity import TargetMap
from lightning_advinterp.core.result import Row, is_missing
from lightning_advinterp.explanations.gradients import Gradient, SmoothGrad
from lightning_advinterp.metrics.heatmaps import compare_to_target, mean_squared_error, pearson, spearman, ssim
from lightning_advinterp.metrics.hessian import Hessian, Score, largest_eigenvalue
from lightning_advinterp.metrics.intervals import wilson_interval
from lightning_advinterp.networks.modes import attack_mode
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.smoothing import smoothed_relu

NEARNESS = ("pcc", "ssim", "mse")
MEASURES = (
    "lambda_max",
    *(f"original_{name}" for name in NEARNESS),
    *(f"target_before_{name}" for name in NEARNESS),
    *(f"target_{name}" for name in NEARNESS),
)
SHARES = ("correct", "class_kept", "prediction_kept")


@dataclass(frozen=True)
class Manipulation:
    """The attack that every β meets.

    Attributes:
        eps: ε in L∞, a share of the pixels' range.
        steps: signed steps of ε / 16.
        lanczos: dimension of the Krylov space for λ.
    """

    eps: float
    steps: int
    lanczos: int


def manipulation_passes(betas: Sequence[float], manipulation: Manipulation) -> tuple[int, int]:
    """Return forward and backward passes of an image by :func:`beta_rows`, with the network itself among them."""
    products = len(betas) * 2 * (manipulation.lanczos + 1)
    climbing = 3 * (manipulation.steps + 1)
    return (len(betas) + 1) * (3 + climbing), products + (len(betas) + 1) * (2 + climbing)


def beta_rows(
    swept: SweptNetwork, x: Tensor, label: Tensor, keys: Tensor, betas: Sequence[float], how: Manipulation
) -> list[list[Row]]:
    """Attack the gradient map of the network with softplus of every β, and of the network itself.

    The aim is a Gaussian in the middle (``TargetMap("centre")``), which is every image's and no image's own map. An
    image's iterates count while the network itself keeps its class. The map of the network itself is climbed by its
    softplus surrogate of β growing from 10 to 100, and judged on relu.

    Args:
        swept: the network; its own classes are explained.
        x: ``[B, C, H, W]`` in [0, 1], at least 11 × 11.
        label: int64 ``[B]``.
        keys: int64 ``[B]``.
        betas: every β; see :meth:`SweptNetwork.betas`.
        how: the attack.

    Returns:
        For every image a row per β, the network itself (``beta`` None) last: ``checkpoint, trained`` (the β that the
        network was trained with), ``beta, correct, class_kept, prediction_kept`` and :data:`MEASURES`.
    """
    rows: list[list[Row]] = [[] for _ in keys]
    head: Row = {"checkpoint": swept.checkpoint, "trained": swept.network.softplus}
    with torch.no_grad():
        target = swept.network(x).argmax(1)
    for beta in (*swept.betas(betas), None):
        measures = _measured(swept, x, label, target, keys, beta, how)
        for place, image_rows in enumerate(rows):
            row = head | {"beta": beta}
            image_rows.append(row | {name: values[place].item() for name, values in measures.items()})
    return rows


def _measured(
    swept: SweptNetwork, x: Tensor, label: Tensor, target: Tensor, keys: Tensor, beta: float | None, how: Manipulation
) -> Mapping[str, Tensor]:
    network, explanation = swept.network, Gradient(softplus=beta)
    attack = climb(
        explanation,
        TargetMap("centre"),
        "target_map",
        (10.0, 100.0),
        eps=how.eps,
        steps=how.steps,
        step_size=how.eps / 16,
    )
    before = explanation.map(network, x, target)
    x_adv = attack.run(network, x, target, keys=keys).x_adv
    after, aim = explanation.map(network, x_adv, target), attack.dissimilarity.reference(before)
    with torch.no_grad():
        same = network(x_adv).argmax(1) == target
        with smoothed_relu(beta):
            predicted = network(x).argmax(1)
    measures = {"correct": predicted == label, "class_kept": predicted == target, "prediction_kept": same}
    measures["lambda_max"] = _bend(swept, x, target, keys, beta, how.lanczos)
    original = {"pcc": pearson, "ssim": ssim, "mse": mean_squared_error}
    measures |= {f"original_{name}": function(before, after) for name, function in original.items()}
    for stage, maps in (("target_before", before), ("target", after)):
        nearness = compare_to_target(maps, aim)
        measures |= {f"{stage}_{name}": nearness[name] for name in NEARNESS}
    return measures


def _bend(swept: SweptNetwork, x: Tensor, target: Tensor, keys: Tensor, beta: float | None, lanczos: int) -> Tensor:
    """Return the Hessian's eigenvalue of largest magnitude; NaN for relu, whose Hessian is 0 almost everywhere."""
    network = swept.network
    if beta is None and not swept.smooth:
        return torch.full((len(x),), torch.nan)

    def score(images: Tensor) -> Tensor:
        logits: Tensor = network(images)
        return logits.gather(1, target[:, None]).squeeze(1)

    smooth: Score = score
    with attack_mode(network), smoothed_relu(beta):
        hessian = Hessian(smooth, x)
        return largest_eigenvalue(hessian, hessian.gradient, keys, steps=lanczos).value


def smoothgrad_rows(
    network: Network,
    x: Tensor,
    target: Tensor,
    keys: Tensor,
    betas: Sequence[float],
    sigmas: Sequence[float],
    samples: int,
) -> list[list[Row]]:
    """Compare the gradient map of the network with softplus of every β with SmoothGrad's of every σ.

    Theorem 2 of the paper says of one layer that softplus of β is SmoothGrad of σ = ln 2·√(2π)/(β‖w‖); of a deep
    network it says nothing, so that the curve is measured.

    Args:
        network: eval mode.
        x: ``[B, C, H, W]`` in [0, 1].
        target: int64 ``[B]``, the classes that are explained.
        keys: int64 ``[B]``, of the noise.
        betas: every β; the network itself (``beta`` None) is compared too.
        sigmas: σ of the noise, shares of the pixels' range.
        samples: draws of a map.

    Returns:
        For every image a row per β and σ: ``beta, sigma, pcc, spearman``.
    """
    smooth = {beta: Gradient(softplus=beta).map(network, x, target) for beta in (*betas, None)}
    rows: list[list[Row]] = [[] for _ in keys]
    for sigma in sigmas:
        noisy = SmoothGrad(sigma=sigma, samples=samples).map(network, x, target, keys=keys)
        for beta, maps in smooth.items():
            linear, ranks = pearson(maps, noisy).tolist(), spearman(maps, noisy).tolist()
            for place, image_rows in enumerate(rows):
                image_rows.append({"beta": beta, "sigma": sigma, "pcc": linear[place], "spearman": ranks[place]})
    return rows


def beta_summary(rows: Sequence[Row]) -> list[Row]:
    """Return a row per network and β: shares with Wilson's intervals, and medians of :data:`MEASURES` over images.

    Args:
        rows: the table ``curvature_beta``.
    """
    summary = []
    names = ("checkpoint", "trained", "beta")
    for values_of_group, group in _by(rows, *names).items():
        line: Row = dict(zip(names, values_of_group, strict=True)) | {"n": len(group)}
        for name in SHARES:
            count = sum(bool(row[name]) for row in group)
            low, high = wilson_interval(count, len(group))
            line |= {name: count / len(group), f"{name}_low": low, f"{name}_high": high}
        for name in MEASURES:
            values = [row[name] for row in group if not is_missing(row[name])]
            line |= summarised(name, [abs(value) for value in values] if name == "lambda_max" else values)
        summary.append(line)
    return summary


def beta_groups(summary: Sequence[Row]) -> dict[tuple[str, float | None], list[Row]]:
    """Return the rows of all networks by what was done with β.

    Args:
        summary: the table ``curvature_beta_summary``.

    Returns:
        ``("smoothed", β)``: networks of ReLU that were smoothed after training; ``("trained", β)``: networks that were
        trained with β, as they are; ``("itself", None)``: networks of ReLU as they are.
    """
    groups: dict[tuple[str, float | None], list[Row]] = {}
    for row in summary:
        smoothed, trained = row["beta"], row["trained"]
        if smoothed is not None and trained is not None:
            continue  # softplus has no relu that further smoothing could replace
        kind = "trained" if trained is not None else "itself" if smoothed is None else "smoothed"
        groups.setdefault((kind, smoothed if trained is None else trained), []).append(row)
    return groups


def mean_of(rows: Sequence[Row], name: str) -> float | None:
    """Return the mean over networks of their medians or shares; None where no network has one."""
    values = [row[name] for row in rows if row[name] is not None]
    return sum(values) / len(values) if values else None


def beta_scalars(summary: Sequence[Row]) -> dict[str, float]:
    """Return the means over networks of every measure as ``curvature/KIND_β/MEASURE``, see :func:`beta_groups`."""
    scalars = {}
    for (kind, beta), rows in beta_groups(summary).items():
        head = kind if beta is None else f"{kind}_{beta:g}"
        for name in (*SHARES, *MEASURES):
            value = mean_of(rows, name)
            if value is not None:
                scalars[f"curvature/{head}/{name}"] = value
    return scalars


def smoothgrad_summary(rows: Sequence[Row]) -> list[Row]:
    """Return a row per β and σ: the medians over images.

    Args:
        rows: the table ``curvature_smoothgrad``.
    """
    summary = []
    for (beta, sigma), group in _by(rows, "beta", "sigma").items():
        line: Row = {"beta": beta, "sigma": sigma, "n": len(group)}
        for name in ("pcc", "spearman"):
            line |= summarised(name, [row[name] for row in group])
        summary.append(line)
    return summary


def _by(rows: Sequence[Row], *columns: str) -> dict[tuple[object, ...], list[Row]]:
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in columns), []).append(row)
    return groups
