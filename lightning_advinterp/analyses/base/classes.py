"""From the classes of a network and of a data set to the classes over which meanings are compared."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.metrics.semantics import ClassSpace
from lightning_advinterp.taxonomy.graph import Taxonomy
from lightning_advinterp.taxonomy.wnid import wnid_in
from lightning_advinterp.taxonomy.wordnet import Tree, class_distances, class_similarity

TargetClasses = Literal["dataset", "all"]


def semantic_classes(
    classes: Sequence[str],
    names: Sequence[str] | None = None,
    *,
    labels: Iterable[int] | None = None,
    target_classes: TargetClasses = "dataset",
    tree: Tree = "nltk",
    sigma: float = 1.0,
    psd_project: bool = False,
    hierarchy: Taxonomy | str | Path | None = None,
    wnids: Mapping[str, str] | None = None,
    accept_guesses: bool = False,
) -> ClassSpace:
    """Return the class space of an analysis.

    Args:
        classes: a wnid or name for each output of the network.
        names: readable names of the outputs; as ``classes`` where left out.
        labels: the outputs that are classes of the data set; None: all.
        target_classes: ``dataset``: distributions, targets and predictions are taken over these; ``all``: over all
            outputs of the network.
        tree: which distances, see :func:`~lightning_advinterp.taxonomy.wordnet.class_distances`.
        sigma: σ of Eq. 10.
        psd_project: see :func:`~lightning_advinterp.taxonomy.wordnet.class_similarity`.
        hierarchy: the user's own instead of WordNet; a matrix without names is of all outputs, or of ``labels`` alone.
        wnids: name to wnid, where ``classes`` are no wnids.
        accept_guesses: take the first sense of other names.

    Raises:
        ValueError: for unknown labels, or names that were only guessed.
    """
    if target_classes not in ("dataset", "all"):
        raise ValueError(f"target_classes must be dataset or all, got {target_classes!r}.")
    outputs = range(len(classes))
    members = sorted(set(labels)) if labels is not None and target_classes == "dataset" else list(outputs)
    if not members or members[0] < 0 or members[-1] >= len(classes):
        raise ValueError(f"labels must be outputs of the network, 0 to {len(classes) - 1}, got {members[:10]}.")
    all_distances = None if len(members) == len(classes) else _between_all(classes, tree, hierarchy)
    place = torch.tensor(members)
    if all_distances is not None and tree != "contracted":
        distances = all_distances[place[:, None], place]
    else:
        member_classes = [classes[label] for label in members]
        distances = class_distances(
            member_classes, tree, hierarchy=hierarchy, wnids=wnids, accept_guesses=accept_guesses
        )
    if all_distances is None:
        all_distances = torch.full((len(classes), len(classes)), torch.nan, dtype=torch.float64)
        all_distances[place[:, None], place] = distances
    shown = classes if names is None else names
    similarity = class_similarity(distances, sigma, psd_project=psd_project)
    return ClassSpace(tuple(members), tuple(shown[label] for label in members), similarity, all_distances)


def _between_all(classes: Sequence[str], tree: Tree, hierarchy: Taxonomy | str | Path | None) -> Tensor | None:
    """Return the distances between all outputs; None where nobody has said what the others are."""
    if hierarchy is not None or all(map(wnid_in, classes)):
        with suppress(LookupError, ValueError):  # others may be in no WordNet that is here, or not in the hierarchy
            return class_distances(classes, tree, hierarchy=hierarchy)
    return None


def aim_within(attacks: Mapping[str, Attack], classes: Iterable[int], outputs: int) -> dict[str, Attack]:
    """Return attacks that choose their targets among the classes of a set, where a network has more outputs.

    Args:
        attacks: by name.
        classes: outputs of the network.
        outputs: their number.
    """
    members = set(classes)
    return {name: attack.within(members if len(members) < outputs else None) for name, attack in attacks.items()}
