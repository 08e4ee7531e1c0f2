"""GradAlign (Andriushchenko & Flammarion 2020): gradients of neighbours point one way, so that one step suffices."""

import torch
from torch import Tensor

from lightning_advinterp.attacks.loop.budget import parse_pixels
from lightning_advinterp.attacks.loop.goal import cross_entropy
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.core.randomness import uniform
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.networks.batch_norm import composed_batch_norm
from lightning_advinterp.networks.modes import BatchNormMode
from lightning_advinterp.networks.network import Network
from lightning_advinterp.objectives.adversarial import Madry
from lightning_advinterp.objectives.extended import Extended, agreed, not_negative
from lightning_advinterp.objectives.objective import Loss, Objective

_NOISE_STREAM = 0x6A116


def gradient_alignment(first: Tensor, second: Tensor) -> Tensor:
    """The mean cosine between gradients of two places, over the images of which neither gradient is zero.

    Args:
        first: ``[B, …]``.
        second: the same shape.

    Returns:
        A scalar in [−1, 1]; 1 where no image has both.
    """
    first, second = first.flatten(1), second.flatten(1)
    both = (first != 0).any(1) & (second != 0).any(1)
    # Ones in the place of zeros, whose direction has no derivative; no value is looked at, which a GPU would wait for.
    first, second = (torch.where(both[:, None], gradient, torch.ones_like(gradient)) for gradient in (first, second))
    cosine = (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1))
    return 1 - torch.where(both, 1 - cosine, 0).sum() / both.sum().clamp(min=1)


class GradAlign(Extended):
    """``base + weight · (1 − cos(∇ₓL(x, y), ∇ₓL(x + η, y)))``, η ~ U(−ε, ε) for every pixel.

    Single-step training fails (catastrophic overfitting) where the loss bends within the ball. The term keeps it
    straight there, so that one step of FGSM stays an attack. It stands beside any base, also the consistent loss with
    FGSM inside.

    Adds to the base 2 forward passes, 2 backward passes to the input, and a full backward pass through both pairs:
    2 · (1 + 1 + 2) thirds and more, about 4 standard steps (measured in ``tests/objectives/test_passes.py``).

    ``grad_alignment`` in the log is the cosine. As in the authors' code x + η is not clipped to [0, 1], and images with
    a zero gradient are left out; there both passes are in training mode and update BatchNorm's running statistics,
    here they update nothing and have no dropout.

    Args:
        weight: λ; the authors take 0.2 for CIFAR-10 at ε = 8/255, and more for larger ε.
        base: the other objective; by default cross-entropy on FGSM's images, from the image itself, at the same ε.
        eps: ε of the noise, a fraction of the [0, 1] range or a string such as "8/255".
        bn: BatchNorm's statistics in the term; the base's, and left out it is that.

    Reference:
        Andriushchenko, Flammarion, Understanding and Improving Fast Adversarial Training, 2020, Eq. 7.
    """

    def __init__(
        self,
        weight: float = 0.2,
        base: Objective | None = None,
        eps: float | str = "8/255",
        bn: BatchNormMode | None = None,
    ) -> None:
        super().__init__(agreed(bn, base))
        self.weight, self.eps = not_negative("weight", weight), parse_pixels(eps)
        if not 0 < self.eps <= 1:
            raise ValueError(f"eps must be in (0, 1], got {eps!r}.")
        self.base: Objective = base or Madry(AttackConfig("fgsm", self.eps), bn=self.bn)

    def loss(self, network: Network, batch: Batch, *, epoch: int) -> Loss:  # type: ignore[override]
        """The base's loss, then the term's own passes."""
        base = self.base_loss(network, batch, epoch=epoch)
        image = batch.image.detach()
        draw = uniform(self.keys(batch, epoch), image.shape[1:], stream=_NOISE_STREAM).to(image)
        with self.term_mode(network), composed_batch_norm():
            gradients = [
                _loss_gradient(network, place, batch.label) for place in (image, image + self.eps * (2 * draw - 1))
            ]
        alignment = gradient_alignment(*gradients)
        total = base.total + self.weight * (1 - alignment) if self.weight else base.total
        return Loss(total, base.parts | {"grad_alignment": alignment.detach()}, base.inputs)


def _loss_gradient(network: Network, x: Tensor, label: Tensor) -> Tensor:
    """Return ∇ₓ Σ L(f(x), y), with its graph."""
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(network(x), label).sum(), x, create_graph=True)
    return gradient
