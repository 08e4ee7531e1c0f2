"""Principal components and non-negative parts of a layer's activations."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_advinterp.units.bases import NonNegativeParts, PrincipalComponents


class Covariance:
    """Mean and covariance of rows that come in batches, in float64; memory is U².

    Args:
        units: U.
    """

    def __init__(self, units: int) -> None:
        self.count = 0
        self.mean = torch.zeros(units, dtype=torch.float64)
        self._products = torch.zeros(units, units, dtype=torch.float64)

    def update(self, rows: Tensor) -> None:
        """Take in rows ``[N, U]`` (Chan, Golub & LeVeque 1983, the pairwise update)."""
        rows = rows.double().cpu()
        mean, count = rows.mean(0), self.count + len(rows)
        centred, apart = rows - mean, mean - self.mean
        self._products += centred.T @ centred + torch.outer(apart, apart) * (self.count * len(rows) / count)
        self.mean += apart * (len(rows) / count)
        self.count = count

    def compute(self) -> Tensor:
        """Return the covariance, divided by the number of rows, ``[U, U]``."""
        return self._products / self.count


def principal_components(covariance: Covariance, latents: int) -> PrincipalComponents:
    """Return the directions of largest variance, the largest first; the largest coefficient of each is positive.

    Args:
        covariance: of the layer's units.
        latents: how many, at most U.

    Raises:
        ValueError: if there are fewer units.
    """
    units = len(covariance.mean)
    if latents > units:
        raise ValueError(f"latents must be at most the layer's {units} units for pca, got {latents}.")
    directions = torch.linalg.eigh(covariance.compute()).eigenvectors.flip(1)[:, :latents].T
    strongest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return PrincipalComponents((directions * strongest.sign()).float().contiguous(), covariance.mean.float())


def non_negative_parts(sample: Tensor, latents: int, steps: int, seed: int) -> NonNegativeParts:
    """Return parts ``D ≥ 0`` with ``X ≈ Z D`` by multiplicative updates of the squared error.

    Args:
        sample: X, ``[N, U]``, none below zero.
        latents: how many parts.
        steps: updates of Z and D.
        seed: draws where they begin.

    Raises:
        ValueError: if a value is below zero.

    Reference:
        Lee & Seung 2000, *Algorithms for non-negative matrix factorization*, Eq. 4.
    """
    if float(sample.min()) < 0:
        raise ValueError(
            f"kind: nmf needs activations of zero or more, this layer has {float(sample.min()):.3g}; read it after its "
            "ReLU, or take pca or sae."
        )
    generator = torch.Generator().manual_seed(seed)
    # Products of such factors have the size of the sample's values.
    size = (sample.mean() / latents).sqrt()
    codes = size * torch.rand(len(sample), latents, generator=generator).to(sample)
    parts = size * torch.rand(latents, sample.shape[1], generator=generator).to(sample)
    tiny = torch.finfo(sample.dtype).tiny
    for _ in range(steps):
        codes, parts = updated(sample, codes, parts, tiny)
    return NonNegativeParts(F.normalize(parts))


def updated(sample: Tensor, codes: Tensor, parts: Tensor, tiny: float) -> tuple[Tensor, Tensor]:
    """Return codes and parts after one multiplicative update; the squared error does not rise.

    Args:
        sample: X, ``[N, U]``.
        codes: Z, ``[N, L]``.
        parts: D, ``[L, U]``.
        tiny: stands for a denominator of zero.
    """
    codes = codes * (sample @ parts.T) / (codes @ (parts @ parts.T)).clamp_min(tiny)
    parts = parts * (codes.T @ sample) / ((codes.T @ codes) @ parts).clamp_min(tiny)
    return codes, parts
