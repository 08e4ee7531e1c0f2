"""How strongly a network's output bends around its images, and in which directions (Dombrowski et al. 2019)."""

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_advinterp.analyses.base.protocol import Observation, Plan, Sweep
from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.analyses.curvature.config import CurvatureConfig
from lightning_advinterp.analyses.curvature.smoothing import (
    Manipulation,
    beta_rows,
    beta_scalars,
    beta_summary,
    manipulation_passes,
    smoothgrad_rows,
    smoothgrad_summary,
)
from lightning_advinterp.analyses.curvature.swept_networks import SweptNetwork
from lightning_advinterp.analyses.curvature.walks import walk_passes, walk_rows, walk_summary
from lightning_advinterp.analyses.fragility.tables import ENOUGH_KEPT, ending_with, named, summarised
from lightning_advinterp.core.randomness import normal, sample_keys
from lightning_advinterp.core.result import REAL, Result, Row, is_missing
from lightning_advinterp.explanations.explanation import Explanation
from lightning_advinterp.explanations.gradients import Gradient
from lightning_advinterp.metrics.heatmaps import says_nothing, spearman, top_k_intersection
from lightning_advinterp.metrics.hessian import Hessian, Score, frobenius_norm, largest_eigenvalue
from lightning_advinterp.metrics.intervals import wilson_interval
from lightning_advinterp.networks.activations import warn_without_surrogate
from lightning_advinterp.networks.modes import attack_mode
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.smoothing import smoothed_relu

logger = logging.getLogger(__name__)

_RANDOM = 0x646972  # "dir"
DIRECTIONS = ("top", "gradient", "random")


class CurvatureAnalysis(Summed):
    """Curvature of the predicted class's logit z with respect to the pixels, on the network with softplus for ReLU.

    The table ``curvature`` has a row per image: ``image, class, beta, gradient_norm, lambda_max`` (the Hessian's
    eigenvalue of largest magnitude) and its ``residual``, ``frobenius`` and ``frobenius_error`` (standard error),
    ``principal`` (the largest principal curvature of the level set {z = const}, which bounds how fast the normalised
    gradient map turns along it), ``cos2`` (squared cosine between the most fragile direction, that eigenvector, and the
    gradient) and ``cos2_times_dimension``, which is 1 on average for a random direction: in D dimensions nearly all
    directions are nearly orthogonal, so the plain cosine cannot fail to be small. Beside them, since only effects
    compare: for a step of equal length along the eigenvector (``top``), the gradient and a random direction the change
    of the class's probability (``delta_p_…``) and of the gradient map h (``delta_map_…``, ‖h' − h‖₂/‖h‖₂, which is what
    curvature bounds, and ``spearman_…``, ``topk_…``, which forget a change of few places). A line has no sign, so every
    step is taken both ways and the stronger effect counts: the larger change, the lower similarity, which need not be
    the same way's. ``cos2_times_dimension_random`` is the null, of the random direction; ``class_kept`` says
    whether the network with softplus predicts the network's own class, without which the row is of another prediction.

    ``curvature_summary`` has the median of each with its 95 % interval and the 10 and 90 % quantiles, and the share of
    ``class_kept``.

    With ``walk`` steps the tables ``curvature_walk`` and ``curvature_walk_summary`` say how far the normalised gradient
    turned along the level set, beside what curvature and distance allow it
    (:mod:`~lightning_advinterp.metrics.level_set`).

    With ``betas`` the tables ``curvature_beta``, ``curvature_smoothgrad`` and their summaries say what softplus of
    every β does to maps, classes and curvature (:mod:`~lightning_advinterp.analyses.curvature.smoothing`).

    Args:
        config: what is measured.
        beside: further networks of the sweep over β.
    """

    name = "curvature"
    united = ("_rows", "_walks", "_betas", "_smoothgrads")

    def __init__(self, config: CurvatureConfig | None = None, beside: Sequence[SweptNetwork] = ()) -> None:
        self.config = config or CurvatureConfig()
        self._network: Network | None = None
        self._rows: dict[int, Row] = {}
        self._walks: dict[int, list[Row]] = {}
        self._betas: dict[int, list[Row]] = {}
        self._smoothgrads: dict[int, list[Row]] = {}
        manipulation = (self.config.manipulation_eps, self.config.manipulation_steps, self.config.lanczos)
        self._manipulation = Manipulation(*manipulation)
        self._beside, self._swept = tuple(beside), list[SweptNetwork]()

    def bind(self, network: Network) -> Plan:
        """One sweep over real images; the products are its own."""
        self._network = network
        warn_without_surrogate(network, self.name)
        products = 2 * (self.config.lanczos + 1) + self.config.probes
        # a product is a backward pass through a backward pass; the steps, both ways, take a map and a prediction each
        forwards, backwards = 3 + 4 * len(DIRECTIONS), 2 * products + 3 + 2 * len(DIRECTIONS)
        if self.config.walk:
            walk_forwards, walk_backwards = walk_passes(self.config.walk, self.config.lanczos)
            forwards, backwards = forwards + walk_forwards, backwards + walk_backwards
        betas = self.config.betas
        if betas:
            self._swept = [SweptNetwork.of(network), *self._beside]
            maps = len(betas) + 1 + self.config.samples * len(self.config.sigmas)
            forwards, backwards = forwards + maps, backwards + maps
            for swept in self._swept:
                passes = manipulation_passes(swept.betas(betas), self._manipulation)
                forwards, backwards = forwards + 1 + passes[0], backwards + passes[1]
        return Plan((Sweep(labels=bool(betas), batch=self.config.batch_size),), passes=(forwards, backwards))

    def update(self, sweep: int, observation: Observation) -> None:
        """Measure one batch."""
        size = self.config.batch_size
        for start in range(0, len(observation.index), size):
            part = slice(start, start + size)
            index, x = observation.index[part], observation.images[REAL][part]
            target, keys = observation.logits[REAL][part].argmax(1), sample_keys(index, seed=self.config.seed)
            measures = self._measure(x, target, keys)
            for place, number in enumerate(index.tolist()):
                self._rows[number] = {key: values[place].item() for key, values in measures.items()}
            if self.config.walk:
                self._walks |= dict(zip(index.tolist(), self._walk(x, target, keys), strict=True))
            if self.config.betas:
                self._sweep(index.tolist(), x, observation.label[part], target, keys)

    def _measure(self, x: Tensor, target: Tensor, keys: Tensor) -> dict[str, Tensor]:
        network, config = self._network, self.config
        assert network is not None

        with attack_mode(network), smoothed_relu(config.beta):
            hessian = Hessian(_score(network, target), x)
            like = hessian.gradient
            top = largest_eigenvalue(hessian, like, keys, steps=config.lanczos)
            norm, error = frobenius_norm(hessian, like, keys, probes=config.probes)
            principal = largest_eigenvalue(hessian.level_set(), like, keys, steps=config.lanczos)
        length = like.norm(dim=1)
        cos2 = ((top.vector * like).sum(1) / length).square()
        measures = {"class": target, "beta": torch.full_like(length, config.beta), "gradient_norm": length}
        measures |= {"lambda_max": top.value, "residual": top.residual, "frobenius": norm, "frobenius_error": error}
        measures |= {"principal": principal.value, "cos2": cos2, "cos2_times_dimension": cos2 * like.shape[1]}
        random = normal(keys, like.shape[1:], stream=_RANDOM).to(like)
        moves = dict(zip(DIRECTIONS, (top.vector, like, random), strict=True))
        smooth, effects = self._steps(network, x, target, moves)
        measures |= effects
        null = F.cosine_similarity(random, like, dim=1).square() * like.shape[1]
        measures |= {"cos2_times_dimension_random": null, "class_kept": smooth == target}
        return _without_directions(measures)

    def _walk(self, x: Tensor, target: Tensor, keys: Tensor) -> list[list[Row]]:
        network, config = self._network, self.config
        assert network is not None
        with attack_mode(network), smoothed_relu(config.beta):
            step = config.walk_step * x[0].numel() ** 0.5
            return walk_rows(_score(network, target), x, keys, step=step, steps=config.walk, lanczos=config.lanczos)

    def _sweep(self, index: Sequence[int], x: Tensor, label: Tensor, target: Tensor, keys: Tensor) -> None:
        network, config = self._network, self.config
        assert network is not None
        for number in index:
            self._betas[number] = []
        for swept in self._swept:
            rows = beta_rows(swept, x, label, keys, config.betas, self._manipulation)
            for number, rows_of_image in zip(index, rows, strict=True):
                self._betas[number] += rows_of_image
        rows = smoothgrad_rows(network, x, target, keys, config.betas, config.sigmas, config.samples)
        self._smoothgrads |= dict(zip(index, rows, strict=True))

    def _steps(
        self, network: Network, x: Tensor, target: Tensor, moves: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the smooth network's prediction, and the stronger effects of two equal steps along each line."""
        explanation: Explanation = Gradient(softplus=self.config.beta)
        places = x.shape[2] * x.shape[3]
        k = max(1, round(self.config.topk * places))

        def look(images: Tensor) -> tuple[Tensor, Tensor]:
            with torch.no_grad(), smoothed_relu(self.config.beta):
                logits: Tensor = network(images)
            return logits.float(), explanation.map(network, images, target)

        def probability(logits: Tensor) -> Tensor:
            return logits.softmax(1).gather(1, target[:, None]).squeeze(1)

        logits, map_before = look(x)
        effects: dict[str, Tensor] = {}
        for name, move in moves.items():
            unit = move / move.norm(dim=1, keepdim=True).clamp(min=torch.finfo(move.dtype).tiny)
            step = (self.config.step * unit.shape[1] ** 0.5 * unit).view_as(x)
            ways = [look(x + step), look(x - step)]  # not cut to [0, 1]: the direction is the question
            changes = [(probability(after) - probability(logits)).abs() for after, _ in ways]
            effects[f"delta_p_{name}"] = torch.maximum(*changes)
            effects[f"delta_map_{name}"] = torch.maximum(*(_relative_change(map_before, after) for _, after in ways))
            effects[f"spearman_{name}"] = torch.minimum(*(spearman(map_before, after) for _, after in ways))
            effects[f"topk_{name}"] = torch.minimum(*(top_k_intersection(map_before, after, k) for _, after in ways))
        return logits.argmax(1), effects

    def result(self) -> Result:
        """Return one row per image, medians and quantiles, and the medians as scalars."""
        rows = [{"image": number} | self._rows[number] for number in sorted(self._rows)]
        summary: list[Row] = []
        for key in [key for key in (rows[0] if rows else {}) if key not in ("image", "class", "beta", "class_kept")]:
            signed = key in ("lambda_max", "principal")
            values = [float(abs(row[key]) if signed else row[key]) for row in rows if not is_missing(row[key])]
            spread = summarised("median", values)
            row = {
                "measure": key,
                "median": spread["median"],
                "low": spread["median_q10"],
                "high": spread["median_q90"],
            }
            row |= {"n": len(values)} | {name: spread[name] for name in ("median_low", "median_high")}
            summary.append(row | {"missing": len(rows) - len(values)})
        scalars = {f"curvature/{row['measure']}": row["median"] for row in summary if row["median"] is not None}
        if rows:
            kept_count = sum(row["class_kept"] for row in rows)
            low, high = wilson_interval(kept_count, len(rows))
            share = kept_count / len(rows)
            scalars["curvature/class_kept"] = share
            summary.append(
                {"measure": "class_kept", "n": len(rows), "share": share, "share_low": low, "share_high": high}
            )
            flat = [row["image"] for row in rows if row["gradient_norm"] == 0]
            scalars["curvature/no_gradient"] = float(len(flat))
            self._warn(share, len(rows), flat)
        tables = {"curvature": rows, "curvature_summary": ending_with("missing", summary)}
        if self.config.walk:
            walked = _of_images(self._walks)
            tables |= {"curvature_walk": walked, "curvature_walk_summary": walk_summary(walked)}
        if self.config.betas:
            swept, smoothed = _of_images(self._betas), _of_images(self._smoothgrads)
            summarised_betas = beta_summary(swept)
            tables |= {"curvature_beta": swept, "curvature_beta_summary": summarised_betas}
            scalars |= beta_scalars(summarised_betas)
            tables |= {"curvature_smoothgrad": smoothed, "curvature_smoothgrad_summary": smoothgrad_summary(smoothed)}
        return Result(self.name, scalars, tables)

    def _warn(self, kept_share: float, images: int, flat: Sequence[int]) -> None:
        """Say so where there is no gradient, or where the network that is measured is not the one that is used."""
        if flat:
            logger.warning(
                "curvature: the gradient is zero at %d of %d images (%s), as where units are dead: there is no level "
                "set, gradient direction or map. What rests on them is missing; see the column missing.",
                len(flat),
                images,
                named(flat),
            )
        if kept_share < ENOUGH_KEPT:
            logger.warning(
                "curvature: with softplus of beta = %g the network keeps the class of %.0f%% of %d images only; "
                "what is measured is then the curvature of another prediction. Take a larger curvature.beta.",
                self.config.beta,
                100 * kept_share,
                images,
            )


def _of_images(rows: Mapping[int, Sequence[Row]]) -> list[Row]:
    """Return the rows of all images, in their order, each with its image."""
    return [{"image": number} | row for number in sorted(rows) for row in rows[number]]


def _score(network: Network, target: Tensor) -> Score:
    """Return the function of images that gives the logit of each image's class, ``[B]``."""

    def score(images: Tensor) -> Tensor:
        logits: Tensor = network(images)
        return logits.gather(1, target[:, None]).squeeze(1)

    return score


def _without_directions(measures: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put NaN for what rests on a direction that does not exist: the gradient's of 0, an eigenvector's of H = 0."""
    needs_gradient = ("principal", "cos2", "cos2_times_dimension", "cos2_times_dimension_random", "delta_p_gradient")
    needs_curvature = ("cos2", "cos2_times_dimension", *(name for name in measures if name.endswith("_top")))
    for names, absent in (
        (needs_gradient, measures["gradient_norm"] == 0),
        (needs_curvature, measures["lambda_max"] == 0),
    ):
        measures |= {name: measures[name].masked_fill(absent, torch.nan) for name in names}
    return measures


def _relative_change(before: Tensor, after: Tensor) -> Tensor:
    """Return ‖h' − h‖₂/‖h‖₂ of each pair of maps, NaN where either is constant."""
    change: Tensor = (after - before).flatten(1).norm(dim=1) / before.flatten(1).norm(dim=1)
    return change.masked_fill(says_nothing(before) | says_nothing(after), torch.nan)
