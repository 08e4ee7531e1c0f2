"""Masks of threat models: which pixels an attack may change."""

from copy import copy
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.goal import Goal


@runtime_checkable
class Mask(Protocol):
    """Chooses pixels for a batch; any callable with these arguments and ``passes`` will do."""

    @property
    def passes(self) -> tuple[int, int]:
        """Forward and backward passes that it takes for an image."""

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
        """Return which pixels may change.

        Args:
            network: images in [0, 1] to logits.
            images: ``[B, C, H, W]``.
            labels: int64 ``[B]``, t0: the true class, or the predicted one where it is unknown.
            targets: int64 ``[B]``, t: the class aimed at. An attack without a target ends at a class that nobody knows
                beforehand; the likeliest other class stands for it.

        Returns:
            bool ``[B, 1, H, W]``.
        """


def checked_mask(mask: Any, x: Tensor) -> Tensor:
    """Return a mask of images ``[B, C, H, W]``, if it is one.

    Raises:
        ValueError: naming what came.
    """
    expected = (len(x), 1, *x.shape[2:])
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or tuple(mask.shape) != expected:
        came = f"{mask.dtype} of shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"mask must return bool {list(expected)}, one value for each pixel, got {came}.")
    return mask.to(x.device)


def rivals(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the likeliest class other than the label, int64 ``[B]``, from ``[B, K]`` and int64 ``[B]``."""
    return logits.scatter(1, labels[:, None], -torch.inf).argmax(dim=1)


def pixels_of(mask: Mask, network: nn.Module, x: Tensor, logits: Tensor, goal: Goal) -> Tensor:
    """Return the pixels that an attack may change, bool ``[B, 1, H, W]``.

    Args:
        mask: chooses them.
        network: that is shown the images.
        x: the images.
        logits: of the images.
        goal: the class question, answered.
    """
    predicted = logits.argmax(dim=1)
    labels = predicted if goal.true_class is None else torch.where(goal.true_class < 0, predicted, goal.true_class)
    targets = goal.label if goal.targeted else rivals(logits, labels)
    return checked_mask(mask(network, x, labels, targets), x)


class Masked:
    """The part of an attack that keeps it to some pixels.

    Attributes:
        mask: chooses the pixels that may change, of attacks that :attr:`takes_mask`; None: all.
    """

    name: str
    mask: Mask | None = None

    @property
    def takes_mask(self) -> bool:
        """Whether it leaves alone the pixels outside :attr:`Goal.mask <lightning_advinterp.attacks.loop.goal.Goal>`."""
        return False

    def masked(self, mask: Mask | None) -> Self:
        """Return this attack, changing the pixels alone that a mask chooses.

        Raises:
            ValueError: if it does not keep to masks.
        """
        if mask is not None and not self.takes_mask:
            raise ValueError(f"mask: {self.name} is no attack that keeps to a mask; take one that follows gradients.")
        masked = copy(self)
        masked.mask = mask
        return masked


def within_mask(value: Tensor, radius: Tensor) -> Tensor:
    """Return ``[B, C, H, W]`` with 0 at pixels whose radius is 0, where the radius differs between pixels."""
    return value if radius.shape[2:] == (1, 1) else value * (radius > 0)
