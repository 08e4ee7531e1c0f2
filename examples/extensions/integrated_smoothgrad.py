r"""An explanation of your own: integrated gradients averaged over noisy images.

python evaluate.py --checkpoint runs/quickstart/last.ckpt --analyses fragility \
        --fragility.methods '[{type: examples.extensions.integrated_smoothgrad.IntegratedSmoothGrad, samples: 4}]'
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.core.randomness import mix, normal
from lightning_advinterp.explanations.gradients import IntegratedGradients
from lightning_advinterp.explanations.question import Question


class IntegratedSmoothGrad(IntegratedGradients):
    """1/n Σ IG(x + σ ε_k), with ε_k from the sample's key."""

    def __init__(self, *, samples: int = 8, sigma: float = 0.15, **settings: Any) -> None:
        super().__init__(**settings)
        self.samples, self.sigma = samples, sigma

    def signed(self, question: Question) -> Tensor:
        """Return the mean of the noisy images' attributions."""
        total = torch.zeros_like(question.z)
        for draw in range(self.samples):
            noise = normal(mix(question.keys, draw), question.z.shape[1:]).to(question.z) * self.sigma / question.std
            total = total + super().signed(replace(question, z=question.z + noise))
        return total / self.samples

    def map_passes(self, size: int) -> tuple[int, int]:
        """One of each kind for every step of every draw."""
        return self.samples * self.steps, self.samples * self.steps
