"""Fits a basis to a layer's activations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from lightning_advinterp.core.randomness import mixed_seed
from lightning_advinterp.units.activation_rows import ActivationSource, ShuffledRows
from lightning_advinterp.units.autoencoder import SparseAutoencoder
from lightning_advinterp.units.autoencoder_training import AutoencoderSettings, AutoencoderTraining
from lightning_advinterp.units.bases import Basis, Identity, NonNegativeParts, PrincipalComponents, Rotation
from lightning_advinterp.units.components import Covariance, non_negative_parts, principal_components
from lightning_advinterp.units.rotation import rotation

Kind = Literal["sae", "pca", "nmf", "rotation", "identity"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FLOAT_BYTES = 4
_MB = 2**20
_NMF_STREAM = 0x6E6D66  # "nmf"


@dataclass(frozen=True)
class Fitting:
    """How much is read, and held, while a basis is fitted.

    Attributes:
        rows: of a step of an autoencoder.
        buffer_mb: of rows that are held in memory.
        seed: of their order.
    """

    rows: int = 1024
    buffer_mb: int = 256
    seed: int = 0

    def capacity(self, units: int) -> int:
        """Return how many rows of so many units the buffer holds."""
        return self.buffer_mb * _MB // (FLOAT_BYTES * units)


def fit_autoencoder(
    source: ActivationSource,
    settings: AutoencoderSettings,
    fitting: Fitting,
    stepped: Callable[[float], None] = lambda loss: None,
) -> SparseAutoencoder:
    """Train a sparse autoencoder.

    Args:
        source: of the activations.
        settings: of the training.
        fitting: what is held in memory.
        stepped: is told every step's loss.
    """
    width = source.unit.width or next(source.epoch(0)).shape[1]
    shuffled = ShuffledRows(source, fitting.capacity(width), fitting.seed)
    training = AutoencoderTraining(shuffled.rows, settings)
    for rows in shuffled.batches(fitting.rows, settings.steps):
        stepped(training.step(rows))
    return training.basis()


def fit_components(source: ActivationSource, latents: int | None) -> PrincipalComponents:
    """Return the principal components of all images' rows, which pass once.

    Args:
        source: of the activations.
        latents: how many; None: as many as there are units.
    """
    covariance: Covariance | None = None
    for rows in source.epoch(0):
        covariance = covariance or Covariance(rows.shape[1])
        covariance.update(rows)
    if covariance is None:
        raise ValueError("data: none of the images can be read, and there is nothing to fit to.")
    return principal_components(covariance, len(covariance.mean) if latents is None else latents)


def fit_parts(source: ActivationSource, latents: int, steps: int, fitting: Fitting) -> NonNegativeParts:
    """Return non-negative parts of the rows that the buffer holds.

    Args:
        source: of the activations.
        latents: how many parts.
        steps: multiplicative updates.
        fitting: what is held in memory; half of the buffer is for the codes.
    """
    width = source.unit.width or next(source.epoch(0)).shape[1]
    sample = ShuffledRows(source, fitting.capacity(width + latents), fitting.seed).rows
    return non_negative_parts(sample, latents, steps, mixed_seed(fitting.seed, _NMF_STREAM))


def basis_without_data(kind: Literal["rotation", "identity"], units: int, seed: int) -> Basis:
    """Return the units themselves, or the rotation that dissection's control takes of a single layer.

    Args:
        kind: which.
        units: of the layer.
        seed: of the rotation.
    """
    if kind == "identity":
        return Identity(units)
    return Rotation(rotation(units, seed, 0, torch.zeros(())), torch.zeros(units))
