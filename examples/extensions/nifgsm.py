r"""An attack of your own: NI-FGSM (Lin et al. 2020), whose gradient is taken ahead of the image.

python evaluate.py --checkpoint runs/quickstart/last.ckpt \
        --attack '{type: examples.extensions.nifgsm.NIFGSM, eps: 4/255, steps: 10}'
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lightning_advinterp.attacks.loop.budget import Eps, parse_budget
from lightning_advinterp.attacks.loop.gradient import GradientAttack
from lightning_advinterp.attacks.loop.step import MomentumMove, MomentumStep, Move
from lightning_advinterp.attacks.loop.threat import Linf


class _Nesterov(MomentumMove):
    def ahead(self, radius: Tensor) -> Tensor | None:
        """Return α μ g: the gradient is that of x* + α μ g (Eq. 6)."""
        return None if self.velocity is None else self.step.length(radius) * self.step.decay * self.velocity


@dataclass(frozen=True)
class NesterovStep(MomentumStep):
    """MI-FGSM's step with Nesterov's look ahead."""

    def start(self) -> Move:
        """Return moves that remember g."""
        return _Nesterov(self)


class NIFGSM(GradientAttack):
    """g ← μ g + ∇L(x* + α μ g)/‖∇‖₁, x* ← x* + α sign g."""

    def __init__(self, *, eps: Eps = "4/255", steps: int = 10, decay: float = 1.0, **common: Any) -> None:
        super().__init__(Linf(parse_budget(eps)), NesterovStep(1 / steps, True, decay), steps=steps, **common)
