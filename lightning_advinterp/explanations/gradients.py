"""Explanations made of input gradients: gradient, gradient × input, SmoothGrad and integrated gradients."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_advinterp.core.randomness import mix, normal
from lightning_advinterp.explanations.explanation import Method, check_count
from lightning_advinterp.explanations.question import Baseline, Output, Question, check_output

Space = Literal["normalised", "pixel"]
"""With respect to what a gradient is taken: normalised images, as in the papers' codes, or pixels in [0, 1]."""

_NOISE_STREAM = 0x6E6F697365  # "noise"


class Gradient(Method):
    """∇ₓ F_c(x) (Simonyan et al. 2014).

    Ghorbani et al. and Dombrowski et al. take the logit. (Dombrowski's code starts the backward pass with z_c instead
    of 1, which the division of the map by its sum cancels.)

    Args:
        output: F, ``logit`` or ``softmax``.
        space: ``normalised`` or ``pixel``; the pixel gradient is the other one divided by every channel's std.
        **common: as in :class:`~lightning_advinterp.explanations.explanation.Method`.
    """

    own_pass = True

    def __init__(self, *, output: Output = "logit", space: Space = "normalised", **common: Any) -> None:
        super().__init__(**{"name": "gradient"} | common)
        if space not in ("normalised", "pixel"):
            raise ValueError(f"space must be normalised or pixel, got {space!r}.")
        self.output, self.space = check_output(output), space

    def signed(self, question: Question) -> Tensor:
        """Return the gradient."""
        z = question.leaf()
        return self.in_space(question.gradient(question.score(z, self.output), z), question)

    def in_space(self, gradient: Tensor, question: Question) -> Tensor:
        """Return a gradient with respect to normalised images as one with respect to ``space``."""
        return gradient / question.std if self.space == "pixel" else gradient


class GradientTimesInput(Gradient):
    """x ⊙ ∇ₓ z_c (Shrikumar et al. 2016), with x normalised as in Dombrowski's code, or pixels (``space``)."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"name": "gradient_times_input"} | settings)

    def signed(self, question: Question) -> Tensor:
        """Return the product: in pixels x·∇/std, where x = z·std + mean."""
        z = question.leaf()
        gradient = question.gradient(question.score(z, self.output), z)
        return gradient * (z if self.space == "normalised" else z + question.mean / question.std)


class SmoothGrad(Gradient):
    """The mean of ∇F_c(x + σ ε_k) over n draws ε_k ~ N(0, 1) from the sample's key (Smilkov et al. 2017).

    Noisy images may leave [0, 1], as in the paper.

    Args:
        sigma: σ in pixels of the [0, 1] range; 0.15 is in the paper's range of 10 to 20 %.
        samples: n.
        chunk: the most images in one pass.
        recompute: with ``create_graph``, keep one pass's graph instead of all, as for :class:`IntegratedGradients`.
        **settings: as for :class:`Gradient`.
    """

    own_pass = False

    def __init__(
        self, *, sigma: float = 0.15, samples: int = 50, chunk: int = 32, recompute: bool = False, **settings: Any
    ) -> None:
        super().__init__(**{"name": "smoothgrad"} | settings)
        if not 0 <= sigma < float("inf"):
            raise ValueError(f"sigma must be 0 or more (pixel units), got {sigma}.")
        self.sigma, self.samples, self.chunk = sigma, check_count("samples", samples), check_count("chunk", chunk)
        self.recompute = recompute

    def signed(self, question: Question) -> Tensor:
        """Return the mean gradient."""
        z, total = question.leaf(), torch.zeros_like(question.z)
        for images, draws in chunks(z, self.samples, self.chunk):
            keys = mix(question.keys[images], draws)
            noise = normal(keys, z.shape[1:], stream=_NOISE_STREAM).to(z.dtype) * (self.sigma / question.std).to(z)
            point = z[images] + noise
            slope = question.slope(point, self.output, question.target[images], recompute=self.recompute)
            total = total.index_add(0, images, slope)
        return self.in_space(total / self.samples, question)

    def passes(self, size: int = 224, *, derivative: bool = False) -> tuple[int, int]:
        """See :class:`~lightning_advinterp.explanations.explanation.Method`; ``recompute`` makes the map twice."""
        forward, backward = super().passes(size, derivative=derivative)
        again = derivative and self.recompute
        return (forward + self.samples, backward + self.samples) if again else (forward, backward)

    def map_passes(self, size: int) -> tuple[int, int]:
        """One of each kind for every draw."""
        return self.samples, self.samples


class IntegratedGradients(Method):
    """(x − x̄) ⊙ 1/n Σ_{k=1..n} ∇F_c(x̄ + k/n (x − x̄)), a right Riemann sum (Sundararajan et al. 2017).

    The attributions sum to F_c(x) − F_c(x̄) up to O(1/n). A change of units of the input, such as the normalisation,
    does not change them.

    Args:
        steps: n; 30 in Dombrowski's code, 100 in Ghorbani's.
        output: F; the probability in both codes.
        baseline: x̄; the mean image in both codes. A tensor holds pixels in [0, 1].
        chunk: the most images in one pass, which bounds the memory; with ``create_graph`` only if ``recompute``.
        recompute: with ``create_graph``, keep one pass's graph instead of all, and compute each again in the backward
            pass: a fifth more time for the derivative by the image, if no parameter asks for one.
        **common: as in :class:`~lightning_advinterp.explanations.explanation.Method`.
    """

    def __init__(
        self,
        *,
        steps: int = 30,
        output: Output = "softmax",
        baseline: Baseline | Tensor = "mean",
        chunk: int = 32,
        recompute: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(**{"name": "integrated_gradients"} | common)
        self.steps, self.chunk = check_count("steps", steps), check_count("chunk", chunk)
        self.output, self.baseline, self.recompute = check_output(output), baseline, recompute

    def signed(self, question: Question) -> Tensor:
        """Return the sum."""
        z = question.leaf()
        start = question.baseline(self.baseline).expand_as(z)
        total = torch.zeros_like(z)
        for images, step in chunks(z, self.steps, self.chunk):
            share = ((step + 1).to(z.dtype) / self.steps)[:, None, None, None]
            point = start[images] + share * (z - start)[images]
            slope = question.slope(point, self.output, question.target[images], recompute=self.recompute)
            total = total.index_add(0, images, slope)
        return (z - start) * total / self.steps

    def passes(self, size: int = 224, *, derivative: bool = False) -> tuple[int, int]:
        """See :class:`~lightning_advinterp.explanations.explanation.Method`; ``recompute`` makes the map twice."""
        forward, backward = super().passes(size, derivative=derivative)
        again = derivative and self.recompute
        return (forward + self.steps, backward + self.steps) if again else (forward, backward)

    def map_passes(self, size: int) -> tuple[int, int]:
        """One of each kind for every step."""
        return self.steps, self.steps


def chunks(images: Tensor, times: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (image, repetition) for every image and repetition, at most ``size`` at once, int64 ``[b]`` each."""
    for place in torch.split(torch.arange(len(images) * times, device=images.device), size):
        yield place % len(images), place // len(images)
