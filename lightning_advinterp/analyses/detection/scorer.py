"""All scores of images, from what was learned of real ones; the same code measures and is attacked."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from lightning_advinterp.analyses.detection.config import DetectionConfig
from lightning_advinterp.attacks.loop.goal import full_precision
from lightning_advinterp.metrics import detection_scores as scores
from lightning_advinterp.metrics.feature_reference import ClassCentres, ConceptPresence, Neighbours, UnitMeanings
from lightning_advinterp.metrics.support import semantic_support, support_of
from lightning_advinterp.networks.network import Network
from lightning_advinterp.units.top_images import kept_count

LAYER = "penultimate"
"""What is read: the input of the last layer, whose entries are the units."""

LINEAR_HEAD = ("semantic_support", "pd_concentration")
"""Scores that rest on prediction differences, which a linear last layer gives in closed form."""

NEAR_CLASSES = ("semantic_support", "concept_disagreement")
"""Scores that know how near classes are to each other."""

LEAST_TOP = 10
"""A unit's meaning is taken from so many images at least: 1 % of a small set would be one or two."""


def linear_head(network: Network) -> nn.Linear | None:
    """Return the last layer, where it is linear."""
    head = network.backbone.get_submodule(network.head) if network.head else None
    return head if isinstance(head, nn.Linear) else None


def vectors(features: Tensor) -> Tensor:
    """Return one number per image and unit: maps are averaged over all places."""
    return features.flatten(2).mean(2) if features.dim() > 2 else features


@dataclass(frozen=True)
class Look:
    """What the scores of a batch are computed from.

    Attributes:
        logits: ``[B, K]``.
        features: ``[B, U]``.
        label: int64 ``[B]``, the class whose prediction is judged.
        squeezed: logits of both squeezed versions of the images; empty where they are not needed.
        attacked: whether gradients are to pass where the score itself has none.
    """

    logits: Tensor
    features: Tensor
    label: Tensor
    squeezed: tuple[Tensor, ...] = ()
    attacked: bool = False


class Scorer:
    """Computes scores of images.

    Args:
        network: the network under test.
        config: settings of the scores.
        features: ``[N, U]``, of the images that are learned from.
        labels: int64 ``[N]``, theirs.
        similarity: C between all outputs, ``[K, K]``; None where no score needs it.
        concepts: each unit's concept; None: every unit stands for itself.
    """

    def __init__(
        self,
        network: Network,
        config: DetectionConfig,
        features: Tensor,
        labels: Tensor,
        similarity: Tensor | None = None,
        concepts: tuple[int, ...] | None = None,
    ) -> None:
        self.network, self.config = network, config
        self._features, self._labels, self._similarity, self._concepts = features, labels, similarity, concepts
        self._keep = min(max(kept_count(config.share, len(features)), LEAST_TOP), len(features))
        head = linear_head(network)
        self._weight = None if head is None else head.weight.detach()
        self._ways: Mapping[str, Callable[[Look], Tensor]] = {
            "semantic_support": self._support,
            "concept_disagreement": lambda look: self._presence.disagreement(
                look.features, look.label, through=look.attacked
            ),
            "max_softmax": lambda look: scores.max_softmax(look.logits, look.label),
            "margin": lambda look: scores.margin(look.logits, look.label),
            "energy": lambda look: scores.energy(look.logits),
            "mahalanobis": lambda look: self._centres.mahalanobis(look.features),
            "knn": lambda look: self._neighbours.distance(look.features, config.neighbours),
            "squeezing": lambda look: scores.squeezing(look.logits, *look.squeezed),
            "pd_concentration": lambda look: scores.concentration(self._differences(look), config.strongest),
            "centre_distance": lambda look: self._centres.distance(look.features),
        }

    @cached_property
    def _centres(self) -> ClassCentres:
        return ClassCentres.of(self._features, self._labels, self.config.shrinkage)

    @cached_property
    def _neighbours(self) -> Neighbours:
        return Neighbours.of(self._features)

    @cached_property
    def _meanings(self) -> UnitMeanings:
        assert self._similarity is not None
        return UnitMeanings.of(self._features, self._labels, self._similarity, self._keep)

    @cached_property
    def _presence(self) -> ConceptPresence:
        assert self._similarity is not None
        return ConceptPresence.of(self._features, self._labels, self._similarity, self._keep, self._concepts)

    def _differences(self, look: Look) -> Tensor:
        assert self._weight is not None
        return scores.prediction_differences(look.features.double(), self._weight, look.label)

    def _support(self, look: Look) -> Tensor:
        differences, near = self._differences(look), self._meanings.near.to(look.features.device)
        if not look.attacked:
            return semantic_support(differences, near, look.label, self.config.strongest)
        differences = differences.masked_fill(near.isnan().any(dim=1), torch.nan)
        weights = scores.soft_strongest_weights(differences, self.config.strongest, self.config.temperature)
        return support_of(weights, near, look.label)

    def look(self, images: Tensor, names: Iterable[str], outputs: tuple[Tensor, Tensor] | None = None) -> Look:
        """Look at images, with a graph where gradients are on.

        Args:
            images: ``[B, C, H, W]``.
            names: the scores that are wanted.
            outputs: their logits and features, where these are known already.
        """
        if outputs is None:
            logits, activations = self.network.forward_features(images, (LAYER,))
            outputs = logits, activations[LAYER]
        logits, features = full_precision(outputs[0]), full_precision(vectors(outputs[1]))
        squeezed: tuple[Tensor, ...] = ()
        if "squeezing" in names:
            both = scores.squeezed(images, self.config.bits, self.config.filter)
            squeezed = tuple(full_precision(self.network(version)) for version in both)
        return Look(logits, features, logits.detach().argmax(dim=1), squeezed)

    def score(self, name: str, look: Look) -> Tensor:
        """Return a score in its natural sense, float64 ``[B]``; NaN where it is missing."""
        return self._ways[name](look).double()

    def suspicion(self, name: str, look: Look) -> Tensor:
        """Return a score as a suspicion, float64 ``[B]``: higher is more suspicious, +∞ where it is missing."""
        return scores.suspicion(name, self.score(name, look))
