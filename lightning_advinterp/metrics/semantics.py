"""How consistent the meaning of a unit is: LC, CS1 and CS2 of Dong et al. 2022, section 3.

A unit's meaning is the distribution of classes among the images that drive it most: p of true classes over real
images, q of true classes over adversarial images, q̃ of the adversarial images' target classes. All functions take
class numbers of any kind (true, target, predicted).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_DENSE = 0.1
"""The share of non-zero entries from which on a dense product is the faster one."""


@dataclass(frozen=True)
class ClassSpace:
    """The classes over which distributions are taken, as a part of a network's outputs.

    A network of 1,000 outputs on a set of 10 classes would nearly always be attacked towards, and often predict, one
    of the other 990: then CS2 is zero by construction. Over the set's own classes it is not.

    Attributes:
        members: K network outputs, in the order of ``similarity``.
        names: of the members.
        similarity: float64 ``[K, K]``, C of Eq. 10.
        distances: float64 ``[outputs, outputs]``, edges between any two outputs of the network, members or not; NaN
            where they are unknown. None: all are.
    """

    members: tuple[int, ...]
    names: tuple[str, ...]
    similarity: Tensor
    distances: Tensor | None = None

    def __post_init__(self) -> None:
        count = len(self.members)
        if len(set(self.members)) != count or len(self.names) != count or self.similarity.shape != (count, count):
            raise ValueError(
                f"members must be different outputs, with a name each and a similarity [{count}, {count}]; got "
                f"{count} members, {len(self.names)} names and a similarity of shape {tuple(self.similarity.shape)}."
            )

    @property
    def size(self) -> int:
        """Number of classes, K."""
        return len(self.members)

    def local(self, labels: Tensor) -> Tensor:
        """Return the places of network outputs among the members, −1 for others; any shape of int64."""
        largest = max(int(labels.max()) if labels.numel() else 0, *self.members)
        table = torch.full((largest + 1,), -1, dtype=torch.int64, device=labels.device)
        table[list(self.members)] = torch.arange(self.size, device=labels.device)
        return table[labels]

    def predicted(self, logits: Tensor) -> Tensor:
        """Return the most likely member of every image, ``[B, outputs] -> [B]``, as its place among them."""
        return logits[:, list(self.members)].argmax(dim=1)


def whole_space(names: Sequence[str], similarity: Tensor) -> ClassSpace:
    """Return the space of all outputs of a network."""
    return ClassSpace(tuple(range(len(names))), tuple(names), similarity)


def class_shares(classes: Tensor, counted: Tensor, size: int) -> Tensor:
    """Return every unit's distribution of classes.

    Args:
        classes: int64 ``[U, k]``, the classes of its top images; −1 is outside the space and left out.
        counted: bool ``[U, k]``, whether the image drives the unit at all.
        size: number of classes, K.

    Returns:
        float64 ``[U, K]``, each row summing to 1; a row of NaN where no image counts: a dead unit.
    """
    inside = counted & (classes >= 0)
    shares = torch.zeros(len(classes), size, dtype=torch.float64)
    shares.scatter_add_(1, classes.clamp(min=0), inside.double())
    return shares / shares.sum(dim=1, keepdim=True)


def nearness(p: Tensor, similarity: Tensor) -> Tensor:
    """Return ``pᵀC`` of every unit: how near its classes are to each class.

    Args:
        p: float64 ``[U, K]``.
        similarity: C, ``[K, K]``.

    Returns:
        ``[U, K]`` in [0, 1]; NaN for dead units.
    """
    similar = similarity.to(p)
    # k top images are of at most k classes: where these are few, most of p is zero.
    dense = int(p.count_nonzero()) > _DENSE * p.numel()
    product: Tensor = p @ similar if dense else torch.sparse.mm(p.to_sparse(), similar)
    return product


@dataclass(frozen=True)
class Meaning:
    """Distributions with what every comparison of them needs, for one product with C.

    Attributes:
        shares: p, float64 ``[U, K]``.
        near: ``pᵀC``, ``[U, K]``; see :func:`nearness`.
        level: LC, ``[U]``; see :func:`level_of_consistency`.
    """

    shares: Tensor
    near: Tensor
    level: Tensor

    @classmethod
    def of(cls, shares: Tensor, near: Tensor) -> "Meaning":
        """Return the meaning of distributions whose nearness is known."""
        return cls(shares, near, _rows(near, shares).clamp(max=1))  # rounding must not push it past

    def consistency(self, q: Tensor, level: Tensor) -> Tensor:
        """Return CS with another distribution, ``[U]``; see :func:`consistency_of_semantics`.

        Args:
            q: float64 ``[U, K]``.
            level: LC of q, ``[U]``.
        """
        consistency: Tensor = _rows(self.near, q) / (self.level * level).sqrt()
        return consistency


def _rows(first: Tensor, second: Tensor) -> Tensor:
    """Return the inner products of rows, ``[U, K]`` twice ``-> [U]``."""
    products: Tensor = torch.einsum("uk,uk->u", first, second)
    return products


def meaning_of(p: Tensor, similarity: Tensor) -> Meaning:
    """Return the meaning of distributions ``[U, K]`` under C, ``[K, K]``."""
    return Meaning.of(p, nearness(p, similarity))


def level_of_consistency(p: Tensor, similarity: Tensor) -> Tensor:
    """Return LC of Eq. 11, ``pᵀCp``.

    Args:
        p: float64 ``[U, K]``.
        similarity: C, ``[K, K]``.

    Returns:
        ``[U]`` in (0, 1] (at least 1/k with k images), higher is more consistent; NaN for dead units.
    """
    return meaning_of(p, similarity).level


def consistency_of_semantics(p: Tensor, q: Tensor, similarity: Tensor) -> Tensor:
    """Return CS of Eq. 12 (with q) or 13 (with q̃), ``pᵀCq / √(pᵀCp · qᵀCq)``.

    Args:
        p: float64 ``[U, K]``, over real images.
        q: float64 ``[U, K]``, over adversarial images.
        similarity: C, ``[K, K]``.

    Returns:
        ``[U]``, at least 0, and at most 1 where C is positive semi-definite; NaN where either is dead.
    """
    return meaning_of(p, similarity).consistency(q, level_of_consistency(q, similarity))


def entropy(p: Tensor) -> Tensor:
    """Return the entropy of every distribution, ``[U, K] -> [U]``, in nats: blind to how close classes are."""
    nats: Tensor = torch.special.entr(p).sum(dim=1)
    return nats


class Chance(NamedTuple):
    """What a ranking that knows nothing of the images would give, on average.

    Attributes:
        lc: of real images.
        cs1: between real and adversarial images, true classes.
        cs2: likewise, target classes.
    """

    lc: float
    cs1: float
    cs2: float


def chance_level(
    true: Tensor, target: Tensor | None, keep: int, similarity: Tensor, *, draws: int = 1000, seed: int = 0
) -> Chance:
    """Return the mean LC, CS1 and CS2 of random sets of ``keep`` images.

    Args:
        true: int64 ``[K]``, images of each true class.
        target: int64 ``[K]``, adversarial images aimed at each class; None where there are none.
        keep: number of top images.
        similarity: C, ``[K, K]``.
        draws: random sets.
        seed: of the draws.
    """
    if int(true.sum()) == 0:
        return Chance(float("nan"), float("nan"), float("nan"))
    generator = np.random.default_rng(seed)

    def random_shares(counts: Tensor) -> Tensor:
        have = int(counts.sum())
        drawn = generator.multivariate_hypergeometric(counts.numpy(), min(keep, have), size=draws, method="marginals")
        return torch.from_numpy(drawn / min(keep, have))

    p, q = random_shares(true), random_shares(true)
    lc, cs1 = level_of_consistency(p, similarity).mean(), consistency_of_semantics(p, q, similarity).mean()
    if target is None or int(target.sum()) == 0:
        return Chance(float(lc), float(cs1), float("nan"))
    cs2 = consistency_of_semantics(p, random_shares(target), similarity).mean()
    return Chance(float(lc), float(cs1), float(cs2))
