"""Several networks that answer as one, each at its own image size."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_advinterp.attacks.loop.goal import full_precision, without_class
from lightning_advinterp.core.finite import FiniteOutputs
from lightning_advinterp.networks.network import Network

Combine = Literal["loss", "prob", "logit"]


class Ensemble(nn.Module):
    """Networks i with shares w_i that answer together, from images in [0, 1] to scores s ``[B, K]``.

    ``combine`` says what is averaged, and s is such that −s_y is the ensemble's loss for class y, which is what
    :func:`~lightning_advinterp.attacks.loop.goal.negative_log` reads:

    - ``loss``: s = Σ w_i log p_i, so −s_y = Σ w_i ℓ(y, f_i(x)) (Dong et al. 2017; Liu et al. 2017 call it an ensemble
      of losses). These are no log-probabilities: their exponentials sum to 1 or less, and cross-entropy, which would
      normalise them first, is another loss.
    - ``prob``: s = log Σ w_i p_i.
    - ``logit``: s = log softmax Σ w_i z_i (Dong et al. 2018).

    Every member sees the image at its own ``input_size``, by bilinear interpolation (of pixel centres, without
    smoothing), which gradients pass, and normalises it itself.

    Args:
        members: networks of the same classes.
        weights: the shares w_i, above 0, of sum 1; equal ones by default.
        combine: ``loss``, ``prob`` or ``logit``.
    """

    def __init__(
        self, members: Sequence[Network], weights: Sequence[float] | None = None, combine: Combine = "loss"
    ) -> None:
        super().__init__()
        check_ensemble(len(members), weights, combine)
        classes = [member.num_classes for member in members]
        if len(set(classes)) > 1:
            raise ValueError(f"members must have the same classes, got networks of {classes} classes.")
        self.members, self.num_classes = nn.ModuleList(members), classes[0]
        self.weights = [1 / len(members)] * len(members) if weights is None else [float(w) for w in weights]
        self.combine = combine

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores ``[B, K]`` of images ``[B, C, H, W]``."""
        logits = self.logits(x)
        if self.combine == "logit":
            total = torch.stack([w * z for w, z in zip(self.weights, logits, strict=True)]).sum(0)
            return total.log_softmax(1)
        log_p = torch.stack([z.log_softmax(1) for z in logits])
        shares = log_p.new_tensor(self.weights)[:, None, None]
        if self.combine == "prob":
            return (log_p + shares.log()).logsumexp(0)
        return (shares * log_p).sum(0)

    def probabilities(self, x: Tensor) -> Tensor:
        """Return Σ w_i p_i, ``[B, K]``, whatever ``combine`` says."""
        parts = [w * z.softmax(1) for w, z in zip(self.weights, self.logits(x), strict=True)]
        return torch.stack(parts).sum(0)

    def logits(self, x: Tensor) -> list[Tensor]:
        """Return every member's logits, ``[B, K]`` each, at its own image size."""
        return [full_precision(member(_resized(x, int(member.input_size)))) for member in self.members]  # type: ignore[arg-type]


def _resized(x: Tensor, size: int) -> Tensor:
    if x.shape[2:] == (size, size):
        return x
    return F.interpolate(x, (size, size), mode="bilinear", align_corners=False)


def check_ensemble(count: int, weights: Sequence[float] | None, combine: str) -> None:
    """Refuse an ensemble of nothing, shares that are none, and an unknown way to combine."""
    if combine not in get_args(Combine):
        raise ValueError(f"combine must be one of {', '.join(get_args(Combine))}, got {combine!r}.")
    if count == 0:
        raise ValueError("members must name at least one network, got none.")
    if weights is None:
        return
    if len(weights) != count or min(weights) <= 0 or abs(sum(weights) - 1) > 1e-6:
        raise ValueError(
            f"weights must be {count} shares above 0 that sum to 1, one for each member, got {list(weights)}; "
            "divide them by their sum."
        )


@torch.no_grad()
def least_likely_targets(
    ensemble: Ensemble, x: Tensor, n: int = 1, classes: Sequence[int] | None = None, *, y: Tensor | None = None
) -> Tensor:
    """Return the n classes of the lowest average probability for every image, the least likely first.

    Args:
        ensemble: whose average probability decides.
        x: ``[B, C, H, W]`` in [0, 1].
        n: how many, 1 to K.
        classes: outputs to choose among; None: all K.
        y: int64 ``[B]``, true classes, below 0 where unknown, which come last; None: any class may come first.

    Returns:
        int64 ``[B, n]``.
    """
    probabilities = ensemble.probabilities(x)
    FiniteOutputs().check({"members' probabilities": probabilities}, torch.arange(len(x)))
    probabilities = without_class(probabilities, y, torch.inf)
    outputs = torch.arange(probabilities.shape[1], device=x.device)
    if classes is not None:
        outputs = outputs[list(classes)]
        probabilities = probabilities[:, outputs]
    if not 1 <= n <= probabilities.shape[1]:
        raise ValueError(f"targets must be 1 to {probabilities.shape[1]}, the number of classes, got {n}.")
    return outputs[probabilities.sort(dim=1, stable=True).indices[:, :n]]
