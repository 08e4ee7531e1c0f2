"""Bases of a layer: linear maps of its units, and their inverse direction where there is one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F


class Basis(ABC):
    """New units of a layer, each computed from all units at one place.

    A basis holds its tensors as fields; :meth:`tensors` and the settings that :meth:`settings` returns say all of it.
    """

    kind: ClassVar[str]
    """What files and tables call it."""

    @property
    @abstractmethod
    def units(self) -> int:
        """How many units the layer has, U."""

    @property
    @abstractmethod
    def latents(self) -> int:
        """How many new units there are, L."""

    @abstractmethod
    def encode(self, rows: Tensor) -> Tensor:
        """Return the new units' values ``[..., L]`` of the layer's units ``[..., U]``."""

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Return the units ``[..., U]`` that values ``[..., L]`` stand for, as well as the basis can."""

    def reconstruct(self, rows: Tensor, codes: Tensor) -> Tensor:
        """Return the units ``[..., U]`` of places whose values are known.

        Args:
            rows: the places' units, for a basis that must know more of a place than its values.
            codes: their values, ``[..., L]``.
        """
        return self.decode(codes)

    def change_without(self, rows: Tensor, latents: Sequence[int]) -> Tensor:
        """Return what places ``[..., U]`` change by where some of their values become zero."""
        codes = self.encode(rows)
        fewer = codes.clone()
        fewer[..., list(latents)] = 0
        return self.reconstruct(rows, fewer) - self.reconstruct(rows, codes)

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return its tensors by name."""

    def settings(self) -> dict[str, str | int]:
        """Return what else it needs, as plain types."""
        return {}

    def signed(self, units_signed: bool | None) -> bool | None:
        """Return whether values below zero are possible; None where that is not known.

        Args:
            units_signed: the same of the layer's units.
        """
        return True

    def maps(self, maps: Tensor) -> Tensor:
        """Return maps of the new units ``[B, L, H, W]``, of maps of the units ``[B, U, H, W]``."""
        return self.encode(maps.movedim(1, -1)).movedim(-1, 1)

    def to(self, like: Tensor) -> Self:
        """Return the basis on another tensor's device; its precision stays."""
        return replace(self, **{name: tensor.to(like.device) for name, tensor in self.tensors().items()})  # type: ignore[type-var]


@dataclass(frozen=True)
class Identity(Basis):
    """The units themselves, bit by bit.

    Attributes:
        width: number of units.
    """

    width: int

    kind: ClassVar[str] = "identity"

    @property
    def units(self) -> int:
        """See :class:`Basis`."""
        return self.width

    @property
    def latents(self) -> int:
        """See :class:`Basis`."""
        return self.width

    def encode(self, rows: Tensor) -> Tensor:
        """Return the units."""
        return rows

    def decode(self, codes: Tensor) -> Tensor:
        """Return the units."""
        return codes

    def tensors(self) -> dict[str, Tensor]:
        """Return nothing."""
        return {}

    def settings(self) -> dict[str, str | int]:
        """Return the number of units."""
        return {"width": self.width}

    def signed(self, units_signed: bool | None) -> bool | None:
        """Return what is known of the units."""
        return units_signed

    def maps(self, maps: Tensor) -> Tensor:
        """Return the maps as they are."""
        return maps


@dataclass(frozen=True)
class Orthogonal(Basis):
    """Orthonormal directions: values are ``z = V (x − m)``, and ``Vᵀ z + m`` leads back.

    Attributes:
        directions: V, ``[L, U]`` with orthonormal rows.
        mean: m, ``[U]``.
    """

    directions: Tensor
    mean: Tensor

    @property
    def units(self) -> int:
        """See :class:`Basis`."""
        return self.directions.shape[1]

    @property
    def latents(self) -> int:
        """See :class:`Basis`."""
        return self.directions.shape[0]

    def encode(self, rows: Tensor) -> Tensor:
        """Return the coordinates along the directions."""
        return F.linear(rows.to(self.mean.dtype) - self.mean, self.directions)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the point with these coordinates."""
        return codes @ self.directions + self.mean

    def tensors(self) -> dict[str, Tensor]:
        """See :class:`Basis`."""
        return {"directions": self.directions, "mean": self.mean}


@dataclass(frozen=True)
class Rotation(Orthogonal):
    """A random rotation: the same space, but not along the units. Its mean is zero."""

    kind: ClassVar[str] = "rotation"


@dataclass(frozen=True)
class PrincipalComponents(Orthogonal):
    """The directions of largest variance, the largest first."""

    kind: ClassVar[str] = "pca"


@dataclass(frozen=True)
class NonNegativeParts(Basis):
    """Non-negative matrix factorisation: ``x ≈ z D``, with ``z ≥ 0`` and the parts ``D ≥ 0`` of unit norm.

    Values are the non-negative least squares solution ``argmin_{z ≥ 0} ‖x − z D‖²`` by FISTA (Beck & Teboulle 2009)
    with a fixed number of steps from zero.

    Attributes:
        parts: D, ``[L, U]``.
        iterations: steps of FISTA.
    """

    parts: Tensor
    iterations: int = 100

    kind: ClassVar[str] = "nmf"

    @property
    def units(self) -> int:
        """See :class:`Basis`."""
        return self.parts.shape[1]

    @property
    def latents(self) -> int:
        """See :class:`Basis`."""
        return self.parts.shape[0]

    def encode(self, rows: Tensor) -> Tensor:
        """Return how much of every part there is."""
        rows = rows.to(self.parts.dtype)
        gram = self.parts @ self.parts.T
        # No part of a solution needs a smaller step than the inverse of the largest eigenvalue.
        step = 1 / torch.linalg.matrix_norm(gram, ord=2).clamp_min(torch.finfo(gram.dtype).tiny)
        target = F.linear(rows, self.parts)
        codes = torch.zeros_like(target)
        ahead, momentum = codes, 1.0
        for _ in range(self.iterations):
            before = codes
            codes = (ahead - step * (ahead @ gram - target)).clamp_min(0)
            following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = codes + (momentum - 1) / following * (codes - before)
            momentum = following
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Return the sum of the parts."""
        return codes @ self.parts

    def tensors(self) -> dict[str, Tensor]:
        """See :class:`Basis`."""
        return {"parts": self.parts}

    def settings(self) -> dict[str, str | int]:
        """Return the number of steps."""
        return {"iterations": self.iterations}

    def signed(self, units_signed: bool | None) -> bool | None:
        """Return False."""
        return False
