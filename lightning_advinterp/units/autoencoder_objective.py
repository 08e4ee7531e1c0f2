"""What a sparse autoencoder is trained to do, as pure functions of its parameters."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_advinterp.units.autoencoder import Activation, top_k


class Parameters(NamedTuple):
    """The parameters of an autoencoder that is trained; its input has mean zero and mean squared norm 1.

    Attributes:
        encoder: ``[L, U]``.
        encoder_bias: ``[L]``.
        decoder: ``[L, U]``, rows of unit norm.
        bias: ``[U]``, taken from the input and added to the reconstruction.
    """

    encoder: Tensor
    encoder_bias: Tensor
    decoder: Tensor
    bias: Tensor


class Objective(NamedTuple):
    """A batch's loss and what it is made of.

    Attributes:
        loss: mean of ``‖x − x̂‖² + λ Σ z`` over rows.
        codes: ``[N, L]``.
        residual: x − x̂, ``[N, U]``.
    """

    loss: Tensor
    codes: Tensor
    residual: Tensor


def objective(rows: Tensor, parameters: Parameters, activation: Activation, k: int, l1: float) -> Objective:
    """Return the loss of a batch.

    ``z = σ(E (x − b) + b_enc)``, ``x̂ = z D + b``. Top-k needs no penalty: ``λ = 0`` (Gao et al. 2024, section 2.3).
    With a ReLU the penalty is ``λ Σ_j z_j``, for rows of D of unit norm (Bricken et al. 2023).

    Args:
        rows: ``[N, U]``.
        parameters: of the autoencoder.
        activation: ``topk`` or ``relu``.
        k: of ``topk``.
        l1: λ, of ``relu``.
    """
    values = F.linear(rows - parameters.bias, parameters.encoder, parameters.encoder_bias)
    codes = top_k(values, k) if activation == "topk" else values.relu()
    residual = rows - torch.addmm(parameters.bias, codes, parameters.decoder)
    loss = residual.square().sum() / len(rows)
    if activation == "relu":
        loss = loss + l1 * codes.sum() / len(rows)
    return Objective(loss, codes, residual)


def without_radial_part(gradient: Tensor, directions: Tensor) -> Tensor:
    """Return the part of a gradient that does not change the norms of unit rows ``[L, U]``."""
    return gradient - (gradient * directions).sum(1, keepdim=True) * directions
