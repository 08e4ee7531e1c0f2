"""Ablation of units: a network's logits without single units, or without several at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_advinterp.metrics.prediction_difference import Form, evidence
from lightning_advinterp.networks.behind import Begun, Behind
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.units.maps import Layout

_BYTES = 1 << 25
"""Of all copies of a layer's output that pass the rest of a network together."""
_MOST = 64
"""So many copies pass together at most: more are no faster, and what lies behind may be larger than the layer."""


class Ablation:
    """Computes what a network says without units of a layer, by running what lies behind it.

    Where a mean over all places and one linear layer lie behind, the logits have a closed form, and nothing is run.

    Args:
        behind: the rest of the network.
        layout: how the layer's output holds its units; None: as maps ``[B, U, H, W]`` or vectors ``[B, U]`` do.
        closed: take the closed form where there is one.
    """

    def __init__(self, behind: Behind, layout: Layout | None = None, *, closed: bool = True) -> None:
        self.behind = behind
        self._axis = 0 if layout is None else layout.axis - 1  # of units, without the batch
        self.linear = behind.linear if closed and self._axis == 0 else None

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
            baseline: ``[S, U]``, or ``[S, ...]`` like the layer's output: S samples of what replaces them.

        Returns:
            ``[len(units), S, K]``.
        """
        activation = self.values(begun.activation[image])
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
        values = self._units_first(self._spread(sample, activation))
        originals = self._units_first(activation)
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
                    copies.movedim(self._axis + 1, 1)[replaced] = originals[replaced[1]]
                row, unit = _places(chunk, activation.device)
                copies.movedim(self._axis + 1, 1)[row, unit] = values[unit]
                replaced, version = (row, unit), copies._version
                changed = self.outputs(begun.activation[image], copies[: len(chunk)])
                parts.append(self.behind.logits(begun, image, changed))
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
        activation = self.values(begun.activation[image])
        with torch.enable_grad(), frozen_eval(self.behind.network):
            leaf = activation[None].repeat(len(classes), *[1] * activation.dim()).requires_grad_()
            # A leaf cannot be overwritten, as networks that work in place do.
            logits = self.behind.logits(begun, image, self.outputs(begun.activation[image], leaf * 1))
            ordered: Form = "logit" if form == "logit" or logits.shape[1] == 1 else "log_odds"
            score = evidence(logits[:, None], classes, ordered).diagonal().sum()
            (gradient,) = torch.autograd.grad(score, leaf)
        lost = activation - self._spread(baseline.to(activation).mean(dim=0), activation)
        products = (gradient * lost).movedim(self._axis + 1, 1)
        estimate: Tensor = products.flatten(2).sum(dim=2) if products.dim() > 2 else products
        return estimate.T

    def values(self, activation: Tensor) -> Tensor:
        """Return the units' values of one image, in the form of the layer's output: here what the layer returned."""
        return activation

    def outputs(self, activation: Tensor, values: Tensor) -> Tensor:
        """Return what the layer returns where its units have other values: here these values.

        Args:
            activation: what it returned for one image.
            values: of copies of the image, ``[n, ...]`` like :meth:`values` each.
        """
        return values

    def width(self, activation: Tensor) -> int:
        """Return how many units an image's activation has."""
        return self.values(activation).shape[self._axis]

    def _units_first(self, activation: Tensor) -> Tensor:
        return activation.movedim(self._axis, 0)

    def _spread(self, sample: Tensor, activation: Tensor) -> Tensor:
        """Return a sample in the form of the layer's output: one value for each unit is spread over all places."""
        if sample.dim() == activation.dim():
            return sample
        shape = [1] * activation.dim()
        shape[self._axis] = len(sample)
        return sample.view(shape).expand_as(activation)


def chunk_size(activation: Tensor, count: int) -> int:
    """Return how many copies of one image's activation pass the rest of a network together, of so many in all."""
    return max(1, min(_MOST, count, _BYTES // (activation.numel() * activation.element_size())))


def _mean(values: Tensor) -> Tensor:
    """Return means over places of ``[..., H, W]`` maps; vectors as they are."""
    return values.mean(dim=(-2, -1)) if values.dim() >= 3 else values


def _places(units: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return copies and units that are to be replaced, int64 ``[n]`` each."""
    rows = [row for row, together in enumerate(units) for _ in together]
    numbers = [unit for together in units for unit in together]
    return torch.tensor(rows, device=device, dtype=torch.int64), torch.tensor(numbers, device=device, dtype=torch.int64)
