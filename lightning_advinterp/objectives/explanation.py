"""Small curvature as a term beside another objective: explanations of neighbours are alike (Dombrowski et al. 2022)."""

from torch import Tensor

from lightning_advinterp.attacks.loop.goal import full_precision
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.explanations.question import Output, check_output, pick
from lightning_advinterp.metrics.hessian import Hessian, squared_frobenius_norm
from lightning_advinterp.networks.batch_norm import composed_batch_norm
from lightning_advinterp.networks.compiled import compiled
from lightning_advinterp.networks.modes import BatchNormMode
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.smoothing import smoothed_relu
from lightning_advinterp.objectives.extended import Extended, agreed, check_beta, not_negative
from lightning_advinterp.objectives.objective import Loss, Objective
from lightning_advinterp.objectives.standard import Standard


class HessianNorm(Extended):
    """``base + weight · ‖∇²ₓ z_y(x)‖²_F``: little curvature, so that gradients at neighbours are alike.

    The norm of each image's Hessian is estimated without bias as the mean of ‖H v‖² over random probes v ~ N(0, 1).
    Networks of relu have the Hessian 0 almost everywhere: softplus_β stands for relu in the term, so that the curvature
    is that of the β-smoothed network. The paper's third means beside softplus and this term, weight decay, is the
    optimiser's own: ``optimizer: {weight_decay: 5.0e-4}``; larger values smooth more.

    Adds to the base 1 forward pass, 1 backward pass to the input, and for every probe a backward pass through both and
    its share of the full one: 2 + 7/3 · probes standard steps, 13/3 with one probe.

    ``hessian_norm`` in the log is the root of the batch's mean of ‖H‖²_F, ``gradient_norm`` that of ‖∇z_y‖²: a norm
    that falls because the gradient vanishes shows.

    With ``bn: train`` the images of a batch share their statistics, and the norm is that of the whole batch's Hessian,
    blocks between images included, divided by the images.

    The paper's text and code were not at hand beyond the summary: that the output is the label's logit, that the
    derivatives are by pixels in [0, 1], and the weight (measured on the concept world) are ours.

    Args:
        weight: of the squared norm; 0 measures it without any effect.
        base: the other objective, cross-entropy by default.
        softplus: β. How many classes a network keeps with it depends on how large its activations are: of 120 images of
            ImageNet a ResNet-18 kept the class of 69 % at 10, of 93 % at 20 and of 98 % at 40, a SqueezeNet of all from
            1 on; ``class_kept`` of the analysis ``curvature`` tells for others. None for networks that are smooth
            themselves (GELU, SiLU).
        probes: random probes of every image and step.
        output: of what the Hessian is taken, ``logit`` or ``softmax``, of the label.
        smooth_base: let softplus stand for relu in the base as well (uncompiled). It does so in training alone:
            validation, checkpoints and evaluations run the network with relu, which the base has then not seen, while
            the paper's networks keep their softplus.
        bn: BatchNorm's statistics in the term; the base's, and left out it is that.

    Reference:
        Dombrowski, Anders, Müller, Kessel, Towards Robust Explanations for Deep Neural Networks, 2022.
    """

    def __init__(
        self,
        weight: float = 1e-5,
        base: Objective | None = None,
        softplus: float | None = 10.0,
        probes: int = 1,
        output: Output = "logit",
        smooth_base: bool = False,
        bn: BatchNormMode | None = None,
    ) -> None:
        super().__init__(agreed(bn, base))
        if probes < 1:
            raise ValueError(f"probes must be 1 or more, got {probes}.")
        if smooth_base and softplus is None:
            raise ValueError("smooth_base needs softplus, the β of the activations that stand for relu.")
        self.base: Objective = base or Standard(self.bn)
        self.weight, self.softplus = not_negative("weight", weight), check_beta(softplus)
        self.probes, self.output, self.smooth_base = probes, check_output(output), smooth_base

    def loss(self, network: Network, batch: Batch, *, epoch: int) -> Loss:  # type: ignore[override]
        """The base's loss, then the term's own passes."""
        if self.smooth_base:
            with compiled(network, None), smoothed_relu(self.softplus):
                base = self.base_loss(network, batch, epoch=epoch)
        else:
            base = self.base_loss(network, batch, epoch=epoch)

        def score(x: Tensor) -> Tensor:
            return pick(full_precision(network(x)), batch.label, self.output)

        with self.term_mode(network), composed_batch_norm():
            hessian = Hessian(score, batch.image, create_graph=True)
            keys = self.keys(batch, epoch)
            square = squared_frobenius_norm(hessian, hessian.gradient, keys, probes=self.probes).mean()
        total = base.total + self.weight * square if self.weight else base.total
        gradient = hessian.gradient.square().sum(1).mean()
        parts = {"hessian_norm": square.detach().sqrt(), "gradient_norm": gradient.sqrt()}
        return Loss(total, base.parts | parts, base.inputs)
