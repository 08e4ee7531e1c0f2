"""What an adaptive attack starts from, and the best that it has found."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_advinterp.attacks.loop.goal import Goal
from lightning_advinterp.attacks.loop.threat import ThreatModel


class Level(NamedTuple):
    """What a score is on real images.

    Attributes:
        threshold: above it an image is flagged.
        middle: the median; the attack goes on until an image is no more suspicious than that.
        scale: the spread, in which the surrogate counts.
    """

    threshold: float
    middle: float
    scale: float


@dataclass(frozen=True)
class StartingAt(ThreatModel):
    """A threat model whose start is no draw.

    Attributes:
        inner: the ball.
        start: ``[B, C, H, W]``.
    """

    inner: ThreatModel
    start: Tensor

    def project(self, x_adv: Tensor, x: Tensor, radius: Tensor) -> Tensor:
        """Return the nearest point of the ball."""
        return self.inner.project(x_adv, x, radius)

    def random_start(self, x: Tensor, radius: Tensor, keys: Tensor) -> Tensor:
        """Return the start, drawn into the ball."""
        return self.inner.project(self.start, x, radius)


class Evasion(Goal):
    """The true class, and the least suspicious wrongly classified image so far.

    Attributes:
        best: ``[B, C, H, W]``; the image itself where none was found.
        suspicion: its score, float64 ``[B]``; +∞ where none was found.
        wrong: whether any image with a wrong class was found, bool ``[B]``.
        plain: the least suspicion of plain attacks' results inside the ball, float64 ``[B]``; +∞ where none is wrong.
    """

    best: Tensor
    suspicion: Tensor
    wrong: Tensor
    plain: Tensor

    def begin(self, x: Tensor) -> None:
        """Start with nothing found for images ``x``."""
        self.best = x.clone()
        self.suspicion = torch.full((len(x),), torch.inf, dtype=torch.float64, device=x.device)
        self.wrong = torch.zeros(len(x), dtype=torch.bool, device=x.device)

    def take(self, indices: Tensor) -> "Evasion":
        """Return the goal of some samples."""
        part = super().take(indices)
        assert isinstance(part, Evasion)
        part.best, part.suspicion, part.wrong = self.best[indices], self.suspicion[indices], self.wrong[indices]
        return part

    def put(self, part: "Evasion", indices: Tensor) -> None:
        """Take back what was found for some samples."""
        self.best[indices], self.suspicion[indices], self.wrong[indices] = part.best, part.suspicion, part.wrong

    def note(self, images: Tensor, logits: Tensor, suspicion: Tensor) -> None:
        """Keep images whose class is wrong where they are less suspicious than the best."""
        wrong = logits.argmax(dim=1) != self.label
        better = wrong & ((suspicion < self.suspicion) | ~self.wrong)
        self.best = torch.where(better[:, None, None, None], images, self.best)
        self.suspicion = torch.where(better, suspicion, self.suspicion)
        self.wrong = self.wrong | wrong
