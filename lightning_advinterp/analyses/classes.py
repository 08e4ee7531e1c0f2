"""From the classes of a network and of a data set to the classes over which meanings are compared."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lightning_advinterp.attacks.attack import Attack
from lightning_advinterp.metrics.semantics import ClassSpace
from lightning_advinterp.taxonomy.graph import Taxonomy
from lightning_advinterp.wordnet import Tree, class_distances, class_similarity, is_wnid

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
        tree: which distances, see :func:`~lightning_advinterp.wordnet.class_distances`.
        sigma: σ of Eq. 10.
        psd_project: see :func:`~lightning_advinterp.wordnet.class_similarity`.
        hierarchy: the user's own instead of WordNet.
        wnids: name to wnid, where ``classes`` are no wnids.
        accept_guesses: take the first sense of other names.

    Raises:
        ValueError: for unknown labels, or names that were only guessed.
    """
    if target_classes not in ("dataset", "all"):
        raise ValueError(f"target_classes must be dataset or all, got {target_classes!r}.")
    every = range(len(classes))
    members = sorted(set(labels)) if labels is not None and target_classes == "dataset" else list(every)
    if not members or members[0] < 0 or members[-1] >= len(classes):
        raise ValueError(f"labels must be outputs of the network, 0 to {len(classes) - 1}, got {members[:10]}.")
    distances = class_distances(
        [classes[label] for label in members],
        tree,
        hierarchy=hierarchy,
        wnids=wnids,
        accept_guesses=accept_guesses,
    )
    shown = classes if names is None else names
    similarity = class_similarity(distances, sigma, psd_project=psd_project)
    names = tuple(shown[label] for label in members)
    return ClassSpace(tuple(members), names, similarity, _between_all(classes, members, distances, tree, hierarchy))


def _between_all(
    classes: Sequence[str], members: Sequence[int], known: Tensor, tree: Tree, hierarchy: object
) -> Tensor:
    """Return the distances between all outputs; where nobody has said what the others are, those of the members."""
    if len(members) < len(classes) and hierarchy is None and all(map(is_wnid, classes)):
        with suppress(LookupError, ValueError):  # others may be in no WordNet that is here
            return class_distances(classes, tree)
    found = torch.full((len(classes), len(classes)), torch.nan, dtype=torch.float64)
    found[torch.tensor(members)[:, None], torch.tensor(members)] = known
    return found


def aim_within(attacks: Mapping[str, Attack], space: ClassSpace, outputs: int) -> None:
    """Let attacks choose their targets among the classes of the set, where a network has more outputs.

    Args:
        attacks: are changed.
        space: the classes.
        outputs: of the network.
    """
    for attack in attacks.values():
        attack.classes = tuple(sorted(space.members)) if len(space.members) < outputs else None
