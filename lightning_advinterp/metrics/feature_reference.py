"""What detectors learn from real images in a network's last features: centres, neighbours, units' meanings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_advinterp.metrics.semantics import class_shares, nearness


@dataclass(frozen=True)
class ClassCentres:
    """The classes' mean features and, for Mahalanobis' distance, the features' spread about them.

    Attributes:
        classes: int64 ``[C]``, the labels that have images.
        means: ``[C, D]``.
        whitening: W ``[D, D]`` with WᵀW = Σ⁻¹; None where every image lies in its class's centre.
        white: the means, whitened, ``[C, D]``; likewise.
    """

    classes: Tensor
    means: Tensor
    whitening: Tensor | None = None
    white: Tensor | None = None

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, shrinkage: float) -> Self:
        """Learn from images.

        The covariance is shared by all classes (Lee et al. 2018) and drawn towards a multiple of the identity,
        (1 − s) Σ + s tr(Σ)/D I: with fewer images than features it has no inverse.

        Args:
            features: ``[N, D]``.
            labels: int64 ``[N]``.
            shrinkage: s.
        """
        features = features.double()
        classes, place = torch.unique(labels, return_inverse=True)
        counts = torch.bincount(place).double()
        means = torch.zeros(len(classes), features.shape[1], dtype=torch.float64).index_add_(0, place, features)
        means = means / counts[:, None]
        centred = features - means[place]
        covariance = centred.T @ centred / len(features)
        scale = covariance.diagonal().mean()
        if not bool(scale > 0):
            return cls(classes, means)
        covariance = (1 - shrinkage) * covariance + shrinkage * scale * torch.eye(len(covariance), dtype=torch.float64)
        factor = torch.linalg.cholesky(covariance)
        identity = torch.eye(len(covariance), dtype=torch.float64)
        whitening = torch.linalg.solve_triangular(factor, identity, upper=False)
        return cls(classes, means, whitening, means @ whitening.T)

    def mahalanobis(self, features: Tensor) -> Tensor:
        """Return min_c (φ − μ_c)ᵀ Σ⁻¹ (φ − μ_c), ``[B, D] -> [B]``.

        Raises:
            ValueError: if no class has two different images.
        """
        if self.whitening is None or self.white is None:
            raise ValueError("mahalanobis needs two different images of a class: their spread about the centre is 0.")
        points = features.double() @ self.whitening.to(features.device).T
        return _squared_distances(points, self.white.to(features.device)).amin(dim=1)

    def distance(self, features: Tensor) -> Tensor:
        """Return min_c ‖φ − μ_c‖₂, ``[B, D] -> [B]``."""
        squared = _squared_distances(features.double(), self.means.to(features.device)).amin(dim=1)
        return (squared + torch.finfo(squared.dtype).tiny).sqrt()  # the root's own gradient at 0 is infinite


@dataclass(frozen=True)
class Neighbours:
    """Real images' features at length 1.

    Attributes:
        features: ``[N, D]``.
    """

    features: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Self:
        """Learn from features ``[N, D]``."""
        return cls(F.normalize(features.double(), dim=1))

    def distance(self, features: Tensor, k: int) -> Tensor:
        """Return the distance to the k-th nearest real image, at length 1, ``[B, D] -> [B]`` (Sun et al. 2022)."""
        squared = _squared_distances(F.normalize(features.double(), dim=1), self.features.to(features.device))
        nearest = squared.kthvalue(min(k, squared.shape[1]), dim=1).values
        return (nearest + torch.finfo(nearest.dtype).tiny).sqrt()


def _squared_distances(points: Tensor, references: Tensor) -> Tensor:
    """Return ``[B, N]``, never below 0."""
    product = points @ references.T
    return (points.square().sum(1)[:, None] - 2 * product + references.square().sum(1)).clamp(min=0)


@dataclass(frozen=True)
class UnitMeanings:
    """Which classes drive every unit.

    Attributes:
        near: float64 ``[U, K]``, pᵀC of every unit; NaN for dead ones.
        thresholds: float64 ``[U]``, the weakest activation among the top images that fire; infinite for dead units.
    """

    near: Tensor
    thresholds: Tensor

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, similarity: Tensor, keep: int) -> Self:
        """Learn from images.

        Args:
            features: ``[N, U]``, every unit's activation; of equal ones the first image's counts as stronger.
            labels: int64 ``[N]``.
            similarity: C, ``[K, K]``.
            keep: so many images count as a unit's top images.
        """
        top, index = top_values(features, keep)
        counted = firing(features, top)
        shares = class_shares(labels[index], counted, len(similarity))
        return cls(nearness(shares, similarity), weakest(top, counted))


def top_values(features: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """Return every unit's strongest activations and their images' places, ``[U, k]`` each."""
    ordered = features.double().sort(dim=0, descending=True, stable=True)
    return ordered.values[:keep].T, ordered.indices[:keep].T


def firing(features: Tensor, top: Tensor) -> Tensor:
    """Return which top images drive their unit, bool ``[U, k]``: after a ReLU those above 0, of no constant unit."""
    signed = bool((features < 0).any())
    constant = features.amax(0) == features.amin(0)
    return ((top > 0) | signed) & ~constant[:, None]


def weakest(top: Tensor, counted: Tensor) -> Tensor:
    """Return the least activation that counts, ``[U]``; infinite where none does."""
    return top.masked_fill(~counted, torch.inf).amin(dim=1)


@dataclass(frozen=True)
class ConceptPresence:
    """Which concepts are present in images of each class.

    A unit is a detector of the concept that ``concepts`` says. A concept is present as far as its strongest detector
    reaches its own threshold: c_k = max_i min(a_i/T_i, 1), T_i the weakest activation among the unit's top images.

    Attributes:
        thresholds: ``[U]``.
        concepts: int64 ``[U]``, each unit's concept, −1 for none.
        implied: ``[K, C]``, mean presence over real images, each weighted by how near its class is to this one: mostly
            those of the class itself, and where it has none those of the nearest.
    """

    thresholds: Tensor
    concepts: Tensor
    implied: Tensor

    @classmethod
    def of(
        cls,
        features: Tensor,
        labels: Tensor,
        similarity: Tensor,
        keep: int,
        concepts: Sequence[int] | None = None,
    ) -> Self:
        """Learn from images.

        Args:
            features: ``[N, U]``.
            labels: int64 ``[N]``.
            similarity: C, ``[K, K]``.
            keep: see :meth:`UnitMeanings.of`.
            concepts: each unit's concept; None: every unit stands for itself.
        """
        top, _ = top_values(features, keep)
        thresholds = weakest(top, firing(features, top))
        numbers = torch.arange(features.shape[1]) if concepts is None else torch.tensor(concepts)
        numbers = numbers.masked_fill(thresholds.isinf() | (thresholds <= 0), -1)
        presence = present(features.double(), thresholds, numbers)
        weights = similarity.double()[:, labels]
        return cls(thresholds, numbers, weights @ presence / weights.sum(dim=1, keepdim=True))

    def disagreement(self, features: Tensor, label: Tensor, *, through: bool = False) -> Tensor:
        """Return 1 − cos between what is present and what a class implies, ``[B]``.

        Args:
            features: ``[B, U]``.
            label: int64 ``[B]``, the classes.
            through: let a gradient pass where a detector is beyond its threshold, for an attack.
        """
        device = features.device
        presence = present(features.double(), self.thresholds.to(device), self.concepts.to(device), through=through)
        return 1 - F.cosine_similarity(presence, self.implied.to(device)[label], dim=1)


def present(features: Tensor, thresholds: Tensor, concepts: Tensor, *, through: bool = False) -> Tensor:
    """Return the presence of every concept in every image, ``[B, C]`` in [0, 1]; see :class:`ConceptPresence`."""
    inside = (concepts >= 0).nonzero().squeeze(1)
    ratio = features[:, inside] / thresholds[inside]
    share = ratio.clamp(0, 1)
    if through:
        share = ratio + (share - ratio).detach()
    count = int(concepts.max()) + 1 if len(concepts) else 0
    place = concepts[inside].expand(len(features), -1)
    return features.new_zeros(len(features), count).scatter_reduce(1, place, share, "amax", include_self=True)
