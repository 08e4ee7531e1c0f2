"""Sparse autoencoders as bases of a layer."""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_advinterp.units.bases import Basis

Activation = Literal["topk", "relu", "jumprelu"]
_EPSILON = 1e-5
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)


def top_k(values: Tensor, k: int) -> Tensor:
    """Keep the k largest of the last axis, and of these what is above zero; the rest is zero.

    Reference:
        Gao et al. 2024, *Scaling and evaluating sparse autoencoders* (2406.04093), section 2.3; their code applies a
        ReLU after the choice, as here.

    Args:
        values: ``[..., L]``.
        k: 1 to L.

    Example:
        >>> top_k(torch.tensor([3.0, -1.0, 2.0, 1.0]), 2)
        tensor([3., 0., 2., 0.])
    """
    largest, places = values.topk(k, dim=-1, sorted=False)
    return torch.zeros_like(values).scatter(-1, places, largest.relu())


@dataclass(frozen=True)
class SparseAutoencoder(Basis):
    """Many sparse directions: ``z = σ(E (x − b_in) + b_enc)`` and ``x ≈ z D + b_dec``.

    Attributes:
        encoder: E, ``[L, U]``.
        encoder_bias: b_enc, ``[L]``.
        decoder: D, ``[L, U]``; rows of unit norm where this package trained it.
        decoder_bias: b_dec, ``[U]``.
        input_bias: b_in, ``[U]``: b_dec for most, zero where an autoencoder takes its input as it is.
        threshold: of ``jumprelu``, ``[L]``; zeros for the others.
        activation: σ: ``topk``, the k largest and of these what is positive; ``relu``; or ``jumprelu``, what exceeds
            its threshold (which is not negative).
        k: of ``topk``; 0 for the others.
        normalized: whether each place's units are centred and divided by their standard deviation before, as OpenAI's
            top-k autoencoders do; the reconstruction is put back.

    Reference:
        Bricken et al. 2023, *Towards monosemanticity*; Gao et al. 2024 (2406.04093); Rajamanoharan et al. 2024
        (2407.14435) for ``jumprelu``.
    """

    encoder: Tensor
    encoder_bias: Tensor
    decoder: Tensor
    decoder_bias: Tensor
    input_bias: Tensor
    threshold: Tensor
    activation: Activation = "topk"
    k: int = 32
    normalized: bool = False

    kind: ClassVar[str] = "sae"

    @property
    def units(self) -> int:
        """See :class:`Basis`."""
        return self.encoder.shape[1]

    @property
    def latents(self) -> int:
        """See :class:`Basis`."""
        return self.encoder.shape[0]

    def encode(self, rows: Tensor) -> Tensor:
        """Return the latents' values."""
        rows = rows.to(self.encoder.dtype)
        if self.normalized:
            mean, deviation = _moments(rows)
            rows = (rows - mean) / deviation
        values = F.linear(rows - self.input_bias, self.encoder, self.encoder_bias)
        if self.activation == "topk":
            return top_k(values, self.k)
        return values.relu() if self.activation == "relu" else values * (values > self.threshold)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the reconstruction; where places are normalised, that of the normalised place."""
        return codes @ self.decoder + self.decoder_bias

    def reconstruct(self, rows: Tensor, codes: Tensor) -> Tensor:
        """See :class:`Basis`."""
        if not self.normalized:
            return self.decode(codes)
        mean, deviation = _moments(rows.to(self.encoder.dtype))
        return self.decode(codes) * deviation + mean

    def tensors(self) -> dict[str, Tensor]:
        """See :class:`Basis`."""
        return {
            "encoder": self.encoder,
            "encoder_bias": self.encoder_bias,
            "decoder": self.decoder,
            "decoder_bias": self.decoder_bias,
            "input_bias": self.input_bias,
            "threshold": self.threshold,
        }

    def settings(self) -> dict[str, str | int]:
        """Return activation, k, and whether places are normalised."""
        return {"activation": self.activation, "k": self.k, "normalized": int(self.normalized)}

    def signed(self, units_signed: bool | None) -> bool | None:
        """Return False."""
        return False


def _moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each place, ``[..., 1]``, as OpenAI's code takes them."""
    return rows.mean(dim=-1, keepdim=True), rows.std(dim=-1, keepdim=True) + _EPSILON
