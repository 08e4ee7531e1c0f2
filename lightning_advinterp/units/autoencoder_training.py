"""Training of sparse autoencoders, from batches of a layer's activations."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_advinterp.core.randomness import mixed_seed
from lightning_advinterp.units.autoencoder import Activation, SparseAutoencoder
from lightning_advinterp.units.autoencoder_objective import Parameters, objective, without_radial_part

_INITIAL, _RESAMPLED = 1, 2
_DECAY = 0.8
"""From this share of the steps on the learning rate falls to zero, and no latent is set anew."""


@dataclass(frozen=True)
class AutoencoderSettings:
    """How an autoencoder is trained.

    Attributes:
        latents: L.
        activation: ``topk`` or ``relu``.
        k: latents that are active at a place, of ``topk``.
        l1: λ of ``relu``; the input's mean squared norm is 1.
        learning_rate: of Adam.
        steps: batches.
        resample: after so many steps latents that none of these steps' rows made active are set anew; 0: never.
        seed: draws the first directions and those that are set anew.
    """

    latents: int = 1024
    activation: Activation = "topk"
    k: int = 32
    l1: float = 0.02
    learning_rate: float = 1e-3
    steps: int = 4000
    resample: int = 250
    seed: int = 0


class AutoencoderTraining:
    """An autoencoder and its optimiser.

    Rows are centred and scaled to mean squared norm 1 by the first sample, so that λ and the learning rate mean the
    same in every layer. The encoder begins as the decoder's transpose. After each step the decoder's rows have unit
    norm; their gradients' radial parts are left out before it (Bricken et al. 2023). A latent that nothing makes active
    any more takes the direction of a row's residual, drawn in proportion to its squared norm (the same authors; Gao et
    al. 2024 have an auxiliary loss instead).

    Args:
        sample: ``[N, U]``, rows that say mean and scale.
        settings: how to train.
    """

    def __init__(self, sample: Tensor, settings: AutoencoderSettings) -> None:
        self.settings, self.done = settings, 0
        self.mean = sample.double().mean(0).to(sample)
        power = (sample - self.mean).square().sum(1).double().mean()
        self.scale = float(power.sqrt()) or 1.0
        units = sample.shape[1]
        generator = torch.Generator().manual_seed(mixed_seed(settings.seed, _INITIAL))
        decoder = F.normalize(torch.randn(settings.latents, units, generator=generator)).to(sample)
        start = Parameters(decoder.clone(), sample.new_zeros(settings.latents), decoder, sample.new_zeros(units))
        self.parameters = Parameters(*(value.requires_grad_() for value in start))
        self._adam = torch.optim.Adam(self.parameters, lr=settings.learning_rate)
        self._active = torch.zeros(settings.latents, dtype=torch.bool, device=sample.device)

    def step(self, rows: Tensor) -> float:
        """Take one step, and return the loss; without a penalty it is the share of variance that is not explained.

        Args:
            rows: ``[N, U]``.
        """
        settings, decoder = self.settings, self.parameters.decoder
        rows = (rows - self.mean) / self.scale
        result = objective(rows, self.parameters, settings.activation, settings.k, settings.l1)
        self._adam.zero_grad()
        result.loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            assert decoder.grad is not None
            decoder.grad.copy_(without_radial_part(decoder.grad, decoder))
            for group in self._adam.param_groups:
                group["lr"] = settings.learning_rate * self._decay()
            self._adam.step()
            decoder.copy_(F.normalize(decoder))
            self._active |= (result.codes > 0).any(0)
        self.done += 1
        if settings.resample and self.done % settings.resample == 0:
            if self.done <= _DECAY * settings.steps:
                self._set_anew(~self._active, result.residual.detach())
            self._active.zero_()
        return float(result.loss.detach())

    def _decay(self) -> float:
        remaining_share = 1 - self.done / self.settings.steps
        return max(0.0, min(1.0, remaining_share / (1 - _DECAY)))

    def _set_anew(self, dead: Tensor, residual: Tensor) -> None:
        """Point dead latents to what the others do not explain."""
        power = residual.square().sum(1).double().cpu()
        count = int(dead.sum())
        if not count or not float(power.sum()) > 0:
            return
        generator = torch.Generator().manual_seed(mixed_seed(self.settings.seed, _RESAMPLED, self.done))
        drawn = torch.multinomial(power, count, replacement=True, generator=generator).to(residual.device)
        directions = F.normalize(residual[drawn])
        with torch.no_grad():
            self.parameters.decoder[dead] = directions
            self.parameters.encoder[dead] = directions
            self.parameters.encoder_bias[dead] = 0
        for parameter in self.parameters[:3]:  # the bias of the input belongs to no latent
            for name in ("exp_avg", "exp_avg_sq"):
                self._adam.state[parameter][name][dead] = 0

    def basis(self) -> SparseAutoencoder:
        """Return the autoencoder for rows as they are, without centre and scale.

        ``s σ(E ((x − m) / s − b) + b_enc) = σ(E (x − (m + s b)) + s b_enc)`` for both activations.
        """
        encoder, encoder_bias, decoder, bias = (value.detach().clone() for value in self.parameters)
        bias = self.mean + self.scale * bias
        return SparseAutoencoder(
            encoder,
            self.scale * encoder_bias,
            decoder,
            bias,
            bias.clone(),
            torch.zeros_like(encoder_bias),
            self.settings.activation,
            self.settings.k if self.settings.activation == "topk" else 0,
        )
