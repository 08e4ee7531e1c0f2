"""One explanation's question: which classes of which images, asked of which network."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_advinterp.core.inputs import as_classes, check_range, outside_inference_mode, recordable
from lightning_advinterp.explanations.recomputation import input_gradient, recomputed_gradient
from lightning_advinterp.networks import Network
from lightning_advinterp.networks.attention import twice_differentiable_attention
from lightning_advinterp.networks.logits import logits_of
from lightning_advinterp.networks.modes import attack_mode, frozen_eval
from lightning_advinterp.networks.smoothing import active_beta, smoothed_relu
from lightning_advinterp.networks.taps import backbone_of

Output = Literal["logit", "softmax"]
"""What is explained: the class' logit z_c, or its probability."""

Baseline = Literal["mean", "black", "white"] | float
"""An image without content: the mean image (0 after normalisation), black, white, or one grey level in [0, 1]."""


@dataclass(frozen=True)
class Question:
    """What a method computes with.

    Attributes:
        network: as the user gave it, uncompiled.
        z: normalised images ``[B, C, H, W]``; part of the graph of the user's images where a graph is wanted.
        target: int64 ``[B]``.
        keys: int64 ``[B]``.
        create_graph: whether the answer must be differentiable.
        mean: ``[C, 1, 1]``, of pixels in [0, 1]; 0 for a network without a normalisation.
        std: likewise; 1 for a network without one.
        noted: the logits of the first forward pass.
    """

    network: nn.Module
    z: Tensor
    target: Tensor
    keys: Tensor
    create_graph: bool
    mean: Tensor
    std: Tensor
    noted: list[Tensor] = field(default_factory=list)

    @property
    def body(self) -> nn.Module:
        """The network behind its normalisation."""
        return backbone_of(self.network)

    def logits(self, z: Tensor) -> Tensor:
        """Return logits ``[B, K]`` of normalised images, in at least float32."""
        logits = logits_of(self.body(z), type(self.body).__name__)
        logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        if not self.noted:
            # A Network's number of outputs was looked at before the pass.
            if logits.device.type == "cpu" and not isinstance(self.network, Network):
                check_range(self.target, logits.shape[1], "target")
            self.noted.append(logits)
        return logits

    def score(self, z: Tensor, output: Output, target: Tensor | None = None) -> Tensor:
        """Return the explained output ``[B]`` at normalised images."""
        return pick(self.logits(z), self.target if target is None else target, output)

    def leaf(self) -> Tensor:
        """Return ``z`` such that derivatives with respect to it can be taken."""
        return self.z if self.z.requires_grad else self.z.detach().requires_grad_()

    def gradient(self, of: Tensor, by: Tensor, start: Tensor | None = None) -> Tensor:
        """Return ∂ Σ ``of`` / ∂ ``by``, with a graph where one is wanted; ``start`` weighs the terms of the sum.

        Raises:
            ValueError: if the network hands no gradients on.
        """
        start = torch.ones_like(of) if start is None else start
        return input_gradient(of, by, start, create_graph=self.create_graph)

    def slope(self, z: Tensor, output: Output, target: Tensor, *, recompute: bool = False) -> Tensor:
        """Return the gradient of the explained output at normalised images, by these.

        Args:
            z: ``[b, C, H, W]``.
            output: what is explained.
            target: int64 ``[b]``.
            recompute: where a graph is wanted, keep no more of it than ``z``, see
                :func:`~lightning_advinterp.explanations.recomputation.recomputed_gradient`.
        """
        if not (recompute and self.create_graph):
            return self.gradient(self.score(z, output, target), z)
        beta = active_beta()

        def score(point: Tensor) -> Tensor:
            with attack_mode(self.network), smoothed_relu(beta):  # again, long after this question was put
                return self.score(point, output, target)

        return recomputed_gradient(score, z, list(self.network.parameters()))

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return images of pixels in [0, 1] as the network's first layer makes them."""
        return ((pixels - self.mean) / self.std).to(self.z.dtype)

    def baseline(self, baseline: Baseline | Tensor) -> Tensor:
        """Return a baseline as normalised images that broadcast to ``z``: ``[1 or B, C, H, W]``.

        Raises:
            ValueError: if a tensor of pixels has another shape, or the word is unknown.
        """
        like = torch.zeros_like(self.z[:1])
        if isinstance(baseline, Tensor):
            pixels = baseline.to(self.z.device, self.mean.dtype)
            if pixels.dim() not in (3, 4) or pixels.shape[-3:] != self.z.shape[1:]:
                raise ValueError(
                    f"baseline must be an image of pixels {tuple(self.z.shape[1:])}, or one for each of the batch, "
                    f"got shape {tuple(pixels.shape)}."
                )
            return self.normalise(pixels if pixels.dim() == 4 else pixels[None])
        if baseline == "mean":
            return like
        level = {"black": 0.0, "white": 1.0}.get(baseline) if isinstance(baseline, str) else float(baseline)
        if level is None or not 0 <= level <= 1:
            raise ValueError(f"baseline must be mean, black, white or a grey level in [0, 1], got {baseline!r}.")
        return like + self.normalise(torch.full_like(self.mean, level))


def pick(logits: Tensor, target: Tensor, output: Output) -> Tensor:
    """Return the logit or the probability of every sample's class, ``[B, K], [B] -> [B]``."""
    values = logits.softmax(1) if output == "softmax" else logits
    return values.gather(1, target[:, None]).squeeze(1)


def check_output(output: str) -> Output:
    """Refuse another word than logit or softmax."""
    if output not in ("logit", "softmax"):
        raise ValueError(f"output must be logit or softmax, got {output!r}.")
    return "logit" if output == "logit" else "softmax"


@contextmanager
def asking(
    network: nn.Module, x: Tensor, target: Tensor | int, keys: Tensor, *, create_graph: bool
) -> Iterator[Question]:
    """Put the question: eval mode and gradients on, until the block is left.

    Without a graph the parameters record none either; with one they keep their ``requires_grad``, so that a training
    objective can be made of an explanation.

    Raises:
        ValueError: if images and classes do not fit together.
    """
    network = getattr(network, "_orig_mod", network)
    if x.dim() != 4 or not x.is_floating_point():
        raise ValueError(f"x must be float images [B, C, H, W] in [0, 1], got {x.dtype} of shape {tuple(x.shape)}.")
    target = as_classes(target, len(x), "target", x.device)
    classes = getattr(network, "num_classes", None)
    if classes is not None and (target.device.type == "cpu" or not create_graph):
        check_range(target, classes, "target")  # not within attacks, whose every step would wait for the device
    with (
        outside_inference_mode(network),
        attack_mode(network) if create_graph else frozen_eval(network),
        torch.enable_grad(),
        twice_differentiable_attention(create_graph),
    ):
        x, target, keys = recordable(x if create_graph else x.detach()), recordable(target), recordable(keys)
        dtype = x.dtype if x.dtype == torch.float64 else torch.float32
        zero = torch.zeros(x.shape[1], 1, 1, dtype=dtype, device=x.device)
        mean, std = zero, zero + 1
        if isinstance(network, Network):
            mean, std = ((zero.new_tensor(values))[:, None, None] for values in (network.mean, network.std))
            x = network.normalize(x)
        yield Question(network, x, target, keys, create_graph, mean, std)
