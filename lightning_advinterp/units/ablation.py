"""Ablation of units: a network's logits without single units, or without several at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_advinterp.metrics.prediction_difference import Form, evidence
from lightning_advinterp.networks.behind import Begun, Behind
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.networks.network import Network
from lightning_advinterp.units.spaces import unit_space

_BYTES = 1 << 25
"""Of all copies of a layer's output that pass the rest of a network together."""
_MOST = 64
"""So many copies pass together at most: more are no faster, and what lies behind may be larger than the layer."""


class Ablation:
    """Computes what a network says without units of a layer, by running what lies behind it.

    Where a mean over all places and one linear layer lie behind, the logits have a closed form, and nothing is run.

    Args:
        behind: the rest of the network.
        closed: take the closed form where there is one.
    """

    def __init__(self, behind: Behind, *, closed: bool = True) -> None:
        self.behind = behind
        self.linear = behind.linear if closed else None

    @property
    def rest_passes(self) -> int:
        """Passes through what lies behind that one ablation takes."""
        return 0 if self.linear is not None else 1

    def logits(self, begun: Begun, image: int, units: Sequence[Sequence[int]], baseline: Tensor) -> Tensor:
        """Return an image's logits without units.

        Args:
            begun: of the batch.
            image: place in it.
            units: of every ablation the units that are replaced together.
            baseline: ``[S, U]`` or ``[S, U, H, W]``, S samples of what replaces them.

        Returns:
            ``[len(units), S, K]``.
        """
        activation = begun.activation[image]
        check_units(self.behind.layer, activation)
        if self.linear is not None:
            return self._closed(activation, begun.logits[image], units, baseline)
        samples = [self._run(begun, image, activation, units, sample) for sample in baseline.to(activation)]
        return torch.stack(samples, dim=1)

    def _closed(self, activation: Tensor, logits: Tensor, units: Sequence[Sequence[int]], baseline: Tensor) -> Tensor:
        assert self.linear is not None
        lost = _mean(activation)[None] - _mean(baseline.to(activation))
        change = lost[:, None, :] * self.linear.weight.detach()[None]  # [S, K, U]
        rows = [change[:, :, list(together)].sum(dim=2) for together in units]
        return logits - torch.stack(rows) if rows else logits.new_zeros(0, len(baseline), len(logits))

    def _run(
        self, begun: Begun, image: int, activation: Tensor, units: Sequence[Sequence[int]], sample: Tensor
    ) -> Tensor:
        """Run the ablations in chunks of copies; from one chunk to the next only what was replaced is put back."""
        values = _as_maps(sample, activation).expand_as(activation)
        size = chunk_size(activation, len(units))
        copies, version = activation.new_empty(0), -1
        replaced: tuple[Tensor, Tensor] | None = None
        parts = []
        with torch.no_grad(), frozen_eval(self.behind.network):
            for start in range(0, len(units), size):
                chunk = units[start : start + size]
                if len(copies) < len(chunk) or copies._version != version:  # the network works in place
                    copies = activation[None].repeat(len(chunk), *[1] * activation.dim())
                elif replaced is not None:
                    copies[replaced] = activation[replaced[1]]
                row, unit = _places(chunk, activation.device)
                copies[row, unit] = values[unit]
                replaced, version = (row, unit), copies._version
                parts.append(self.behind.logits(begun, image, copies[: len(chunk)]))
        return torch.cat(parts) if parts else begun.logits.new_zeros(0, begun.logits.shape[1])

    def first_order(self, begun: Begun, image: int, classes: Tensor, baseline: Tensor, form: Form = "logit") -> Tensor:
        """Return the first-order estimate of prediction differences, ``Σ (A_i − b_i) ∂e_c/∂A_i``.

        Args:
            begun: of the batch.
            image: place in it.
            classes: int64 ``[M]``.
            baseline: as in :meth:`logits`; its samples are averaged.
            form: of evidence; for ``probability`` the log-odds stand, which order units alike and do not saturate.

        Returns:
            ``[U, M]``.
        """
        activation = begun.activation[image]
        with torch.enable_grad(), frozen_eval(self.behind.network):
            leaf = activation[None].repeat(len(classes), *[1] * activation.dim()).requires_grad_()
            logits = self.behind.logits(begun, image, leaf * 1)  # a leaf cannot be overwritten
            ordered: Form = "logit" if form == "logit" or logits.shape[1] == 1 else "log_odds"
            score = evidence(logits[:, None], classes, ordered).diagonal().sum()
            (gradient,) = torch.autograd.grad(score, leaf)
        lost = activation - _as_maps(baseline.to(activation).mean(dim=0), activation)
        estimate: Tensor = (gradient * lost).flatten(2).sum(dim=2) if activation.dim() == 3 else gradient * lost
        return estimate.T


def chunk_size(activation: Tensor, count: int) -> int:
    """Return how many copies of one image's activation pass the rest of a network together, of so many in all."""
    return max(1, min(_MOST, count, _BYTES // (activation.numel() * activation.element_size())))


def check_units(layer: str, activation: Tensor) -> None:
    """Refuse a layer whose output is neither maps nor a vector of units.

    Args:
        layer: for the message.
        activation: of one image.

    Raises:
        ValueError: naming the shape.
    """
    if activation.dim() not in (1, 3):
        raise ValueError(
            f"layers: {layer!r} returns shape [B, {', '.join(map(str, activation.shape))}]; units are the channels of "
            "maps [B, C, H, W] or of vectors [B, C]: name such a layer."
        )


def check_unit_layers(network: Network, taps: Sequence[str]) -> None:
    """Refuse layers whose output is neither maps nor a vector, before any work.

    Raises:
        ValueError: naming the layer and its shape.
    """
    for unit in unit_space(network, taps):
        if unit.layout is not None and unit.layout.form not in ("maps", "vectors"):
            raise ValueError(
                f"layers: {unit.layer!r} gives {unit.layout}; units are exchanged in maps [B, C, H, W] or in vectors "
                "[B, C]: name such a layer."
            )


def _mean(values: Tensor) -> Tensor:
    """Return means over places of ``[..., H, W]`` maps; vectors as they are."""
    return values.mean(dim=(-2, -1)) if values.dim() >= 3 else values


def _as_maps(sample: Tensor, activation: Tensor) -> Tensor:
    return sample[:, None, None] if sample.dim() == 1 and activation.dim() == 3 else sample


def _places(units: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return copies and units that are to be replaced, int64 ``[n]`` each."""
    rows = [row for row, together in enumerate(units) for _ in together]
    numbers = [unit for together in units for unit in together]
    return torch.tensor(rows, device=device, dtype=torch.int64), torch.tensor(numbers, device=device, dtype=torch.int64)
