"""Which classes are near each other, and which are near a concept, in WordNet."""

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from lightning_advinterp.analyses.base.question import Scene
from lightning_advinterp.analyses.semantics.config import SemanticsConfig
from lightning_advinterp.analyses.semantics.question import class_space
from lightning_advinterp.analyses.sensitivity.relations import ClassMeanings
from lightning_advinterp.taxonomy import corpus
from lightning_advinterp.taxonomy.graph import common_ancestor_distances
from lightning_advinterp.taxonomy.wordnet import resolve_classes

_SUFFIX = re.compile(r"-[a-z]$")
"""Broden's names of scenes and colours end so: ``street-s``, ``red-c``."""


def class_meanings(config: SemanticsConfig, scene: Scene, near: int, labels: Iterable[str]) -> ClassMeanings:
    """Return which classes, and which concepts, are near which classes of a network.

    Two classes are near each other at no more than ``near`` edges; of concepts see :func:`concept_classes`.

    Args:
        config: semantics' settings, which say what classes are.
        scene: with the classes.
        near: edges.
        labels: names of concepts; WordNet does not know all of them.

    Raises:
        ValueError: if it is unknown what the classes are; says what to do.
    """
    space = class_space(config, scene)
    if space.distances is None:
        raise ValueError("semantics: the distances between the network's classes are unknown.")
    table = space.distances <= near  # false where a distance is unknown
    names = tuple(scene.class_names) or tuple(scene.classes)
    return ClassMeanings(names, table, concept_classes(config, scene, near, labels))


def concept_classes(config: SemanticsConfig, scene: Scene, near: int, labels: Iterable[str]) -> dict[str, Tensor]:
    """Return the classes that concepts are near to, bool ``[K]`` by label; without concepts that WordNet does not know.

    A concept is taken for the first sense of its name. A class is near it at no more than ``near`` edges, or where it
    is a kind of it: a retriever is near *dog*, however far below.

    Args:
        config: semantics' settings, which say what classes are.
        scene: with the classes.
        near: edges.
        labels: names of concepts.
    """
    if config.hierarchy is not None:  # a user's own has no concepts
        return {}
    try:
        classes = resolve_classes(scene.classes, wnids=config.wnids, accept_guesses=config.accept_guesses)
        senses = {label: corpus.senses(_SUFFIX.sub("", label)) for label in sorted(set(labels))}
        concepts = {label: meanings[0].wnid for label, meanings in senses.items() if meanings}
        taxonomy = corpus.nouns_above([*concepts.values(), *classes])
    except (LookupError, ValueError):  # nltk's WordNet is not here, or classes are none of its nouns
        return {}
    nodes = [*concepts.values(), *classes]
    distances = torch.from_numpy(common_ancestor_distances(taxonomy, nodes))[: len(concepts), len(concepts) :]
    above = [taxonomy.heights(wnid) for wnid in classes]
    kinds = torch.tensor([[wnid in ancestors for ancestors in above] for wnid in concepts.values()], dtype=torch.bool)
    return dict(zip(concepts, (distances <= near) | kinds.view(len(concepts), len(classes)), strict=True))
