"""Classes as WordNet nouns: their synsets, their distances, and the similarity matrix C of Dong et al. 2022.

A class is named by its wnid (``n02123394``, the noun's offset in WordNet 3.0, as ImageNet writes it) or by a name.
A name is looked up, and the guess must be confirmed: "crane" is a bird and a machine. ImageNet's, CIFAR-10's and the
concept world's classes need no corpus; other wnids and all look-ups read nltk's.
"""

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lightning_advinterp.taxonomy import corpus
from lightning_advinterp.taxonomy.corpus import Sense
from lightning_advinterp.taxonomy.graph import (
    Distances,
    Taxonomy,
    common_ancestor_distances,
    contract,
    undirected_distances,
)
from lightning_advinterp.taxonomy.tables import (
    check_distances,
    is_parent_links,
    read_distances,
    read_parent_links,
    shipped_classes,
    shipped_taxonomy,
)
from lightning_advinterp.taxonomy.wnid import is_wnid, wnid_in

logger = logging.getLogger(__name__)

Tree = Literal["nltk", "undirected", "contracted"]


class Guess(NamedTuple):
    """What a class name may mean.

    Attributes:
        name: as given.
        senses: its meanings, kinds of things before names; empty where WordNet does not know it.
    """

    name: str
    senses: tuple[Sense, ...]

    def __str__(self) -> str:
        if not self.senses:
            return f"{self.name!r}: not in WordNet"
        first, *alternatives = self.senses
        more = ", ".join(f"{sense.wnid} ({sense.gloss})" for sense in alternatives)
        return f"{self.name!r}: {first.wnid}, {first.gloss}" + (f"; other senses: {more}" if more else "")


class UnconfirmedGuess(ValueError):
    """Class names without wnids were looked up, and nobody has confirmed the guesses.

    Attributes:
        guesses: what was found.
    """

    def __init__(self, guesses: Sequence[Guess]) -> None:
        self.guesses = tuple(guesses)
        shown = "\n".join(f"  {guess}" for guess in guesses)
        super().__init__(
            f"classes: {len(guesses)} names are no wnids. Looked up in WordNet:\n{shown}\n"
            "Pass wnids={name: wnid} for them, or accept_guesses=True if the first senses are right."
        )


def guess_synsets(names: Sequence[str]) -> list[Guess]:
    """Look class names up in WordNet.

    Raises:
        LookupError: if nltk has no WordNet.
    """
    return [Guess(name, tuple(corpus.senses(name))) for name in names]


def resolve_classes(
    classes: Sequence[str], *, wnids: Mapping[str, str] | None = None, accept_guesses: bool = False
) -> list[str]:
    """Return the wnid of every class.

    Args:
        classes: wnids or names.
        wnids: name to wnid, for classes whose names hold no wnid.
        accept_guesses: take the first sense of every other name; the guesses are logged.

    Raises:
        UnconfirmedGuess: if names are left that were only guessed, or are not in WordNet at all.
        LookupError: if a name must be looked up and nltk has no WordNet.
    """
    resolved = {name: (wnids or {}).get(name) or wnid_in(name) for name in classes}
    for name, wnid in (wnids or {}).items():
        if not is_wnid(wnid):
            raise ValueError(f"wnids: {name!r} must be given as n and eight digits (like n02084071), got {wnid!r}.")
    guesses = guess_synsets([name for name, wnid in resolved.items() if wnid is None])
    if guesses and not (accept_guesses and all(guess.senses for guess in guesses)):
        raise UnconfirmedGuess(guesses)
    for guess in guesses:
        logger.warning("class %s", guess)
        resolved[guess.name] = guess.senses[0].wnid
    return [str(resolved[name]) for name in classes]


def class_distances(
    classes: Sequence[str],
    tree: Tree = "nltk",
    *,
    hierarchy: Taxonomy | Distances | str | Path | None = None,
    wnids: Mapping[str, str] | None = None,
    accept_guesses: bool = False,
) -> Tensor:
    """Return the semantic distances between classes.

    Args:
        classes: K wnids or names.
        tree: ``nltk``: the fewest edges up to a common hypernym and down again in the noun graph of WordNet 3.0;
            ``undirected``: the shortest path in it, which may go up and down several times; ``contracted``: like
            ``nltk``, in the classes' own sub-tree without the nouns that tell no two of them apart.
        hierarchy: the user's own instead of WordNet: a CSV of parent links (columns ``child,parent``), a matrix of
            distances (``.npy`` in the order of ``classes``, a CSV with the classes' names in its header and first
            column, or an array), or a :class:`~lightning_advinterp.taxonomy.graph.Taxonomy`.
        wnids: see :func:`resolve_classes`.
        accept_guesses: likewise.

    Returns:
        float64 ``[K, K]`` in edges; infinite between classes with no common hypernym.

    Raises:
        ValueError: for an unknown tree, a class that the hierarchy lacks, or a name nobody confirmed.
        LookupError: if nltk's WordNet is needed and missing.

    Reference:
        Dong et al. 2022 ("distance in the WordNet tree"); nltk's ``Synset.shortest_path_distance``.

    Example:
        >>> class_distances(["n02958343", "n04490091", "n02084071"])  # car, truck, dog
        tensor([[ 0.,  2., 12.],
                [ 2.,  0., 12.],
                [12., 12.,  0.]], dtype=torch.float64)
    """
    if tree not in ("nltk", "undirected", "contracted"):
        raise ValueError(f"tree must be nltk, undirected or contracted, got {tree!r}.")
    source = "hierarchy"
    if isinstance(hierarchy, str | Path):
        source = f"hierarchy {str(hierarchy)!r}"
        hierarchy = _read_hierarchy(Path(hierarchy), classes)
    if hierarchy is None:
        nodes = resolve_classes(classes, wnids=wnids, accept_guesses=accept_guesses)
        taxonomy = _wordnet(nodes, complete=tree == "undirected")
    elif isinstance(hierarchy, Taxonomy):
        nodes, taxonomy = list(classes), hierarchy
        unknown = [node for node in nodes if node not in taxonomy.parents]
        if unknown:
            raise ValueError(f"{source}: has no node for {len(unknown)} classes, among them {unknown[0]!r}.")
    else:
        return torch.from_numpy(check_distances(hierarchy, len(classes), "hierarchy"))
    if tree == "undirected":
        return torch.from_numpy(undirected_distances(taxonomy, nodes))
    if tree == "contracted":
        taxonomy = contract(taxonomy, nodes)
    return torch.from_numpy(common_ancestor_distances(taxonomy, nodes))


def class_similarity(distances: Tensor, sigma: float = 1.0, *, psd_project: bool = False) -> Tensor:
    """Return C of Eq. 10: ``c_lm = exp(−d_lm² / 2σ²)``.

    Where C is not positive semi-definite, CS of Eq. 12 may exceed 1; then there is a warning. The projection goes
    from C towards the identity until no eigenvalue is negative: clipping the eigenvalues instead would bring negative
    entries, and with them negative CS.

    Args:
        distances: ``[K, K]``, see :func:`class_distances`.
        sigma: σ, in edges; 1 in the paper. With it only the same class (1), parents (0.61), siblings (0.14) and
            the next relatives (0.01) count.
        psd_project: make C positive semi-definite where it is not, instead of warning.

    Returns:
        float64 ``[K, K]``, symmetric, in [0, 1], 1 on the diagonal.

    Reference:
        Dong, Su, Zhu 2022, Eq. 10.
    """
    if not sigma > 0:
        raise ValueError(f"sigma must be above 0 (in edges of the hierarchy), got {sigma}.")
    similarity = torch.exp(-(distances.double() ** 2) / (2 * sigma**2))
    least = float(torch.linalg.eigvalsh(similarity)[0])
    if least >= -1e-9:  # rounding of a zero
        return similarity
    if psd_project:
        weight = -least / (1 - least)
        return (1 - weight) * similarity + weight * torch.eye(len(similarity), dtype=torch.float64)
    warnings.warn(
        f"C of Eq. 10 is not positive semi-definite (least eigenvalue {least:.3g}), so CS may exceed 1; "
        f"choose psd_project=True or a smaller sigma than {sigma}.",
        stacklevel=2,
    )
    return similarity


def _wordnet(nodes: Sequence[str], *, complete: bool) -> Taxonomy:
    """The shipped part of WordNet where it suffices, else nltk's: all nouns, or those above the classes."""
    shipped = shipped_taxonomy()
    # Undirected ways between other nouns of the table may lead through nouns that it lacks.
    if all(node in (shipped_classes() if complete else shipped.parents) for node in nodes):
        return shipped
    return corpus.all_nouns() if complete else corpus.nouns_above(nodes)


def _read_hierarchy(path: Path, classes: Sequence[str]) -> Taxonomy | Distances:
    if path.suffix != ".npy" and is_parent_links(path):
        return read_parent_links(path)
    return read_distances(path, list(classes))
