"""Patterns: what the inputs of a layer have in common where it fires, learnt from images."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lightning_advinterp.core.files import write_atomically
from lightning_advinterp.core.tensor_files import read_tensor_file, save_tensors
from lightning_advinterp.explanations.linear import Affine, run
from lightning_advinterp.explanations.operations import Op
from lightning_advinterp.explanations.program import Program
from lightning_advinterp.explanations.question import asking
from lightning_advinterp.explanations.verification import verified_program
from lightning_advinterp.networks.tensor_checks import listed, no_numbers

_METHOD = "pattern_attribution"


@dataclass(frozen=True)
class Patterns:
    """One pattern a for every weight vector w of a sequential network, with wᵀa = 1.

    Attributes:
        values: by layer path, of the shape of the layer's weights; 0 for units that never fired.
    """

    values: dict[str, Tensor]

    def save(self, path: str | Path) -> None:
        """Write a ``.safetensors`` file."""
        content = save_tensors({name: value.contiguous() for name, value in self.values.items()})
        write_atomically(Path(path), lambda file: file.write(content))

    @classmethod
    def load(cls, path: str | Path) -> "Patterns":
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is no whole safetensors file, or holds NaN or infinity.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"patterns: no file {path}; learn_patterns(network, images).save({str(path)!r}).")
        values = read_tensor_file(path, what="patterns")
        wrong = {name: str(value.dtype) for name, value in values.items() if not value.is_floating_point()}
        wrong |= dict(no_numbers(values))
        if wrong:
            raise ValueError(f"patterns: {path} holds {listed(wrong)}; learn them anew.")
        return cls(values)

    def of(self, name: str, layer: Affine) -> Tensor:
        """Return w ⊙ a of a layer.

        Raises:
            ValueError: if there is no pattern for these weights: wᵀa is not 1 but for rounding for each unit
                (0 where it never fired).
        """
        pattern = self.values.get(name)
        if pattern is not None and pattern.shape == layer.weight.shape:
            product = layer.weight * pattern.to(layer.weight)
            shares = product.detach().flatten(1)
            sums = shares.sum(1)
            # of many terms that cancel, as in a unit that fired on a few images, rounding leaves more than a hundredth
            rounding = torch.finfo(shares.dtype).eps * shares.abs().sum(1)
            if bool((((sums - 1).abs() < 1e-2 + rounding) | (sums == 0)).all()):
                return product
        raise ValueError(
            f"patterns: those of layer {name} were not learnt for this network's weights; learn them anew."
        )


def sequential_program(body: nn.Module, z: Tensor) -> Program:
    """Return the steps of a network in which every step reads the one before.

    Args:
        body: from normalised images to logits.
        z: normalised images ``[B, C, H, W]``, on which the steps are compared with the network.

    Raises:
        ValueError: naming the first step that joins branches, or that patterns cannot pass, or that computes something
            else than the network.
    """
    program = verified_program(body, _METHOD, z)
    for number, step in enumerate(program.steps[1:], 1):
        if step.op is Op.RELU6:
            raise ValueError(
                f"{_METHOD}: patterns are defined for relu, which fires without a bound, and layer {step.name} is a "
                "ReLU6. Take LRP."
            )
        if step.inputs != (number - 1,) or step.op is Op.NORM:
            raise ValueError(
                f"{_METHOD} works on sequential networks (AlexNet, VGG), and {type(body).__name__} is none: "
                f"{step.name} {'normalises on its own' if step.op is Op.NORM else 'joins branches'}. Take LRP."
            )
    return program


class _Sums:
    """Running sums of one layer: over all places, and over those where a unit fires.

    They are float64: a covariance is a small difference of large sums where inputs are never negative.
    """

    def __init__(self, layer: Affine) -> None:
        self.y = layer.weight.new_zeros(len(layer.weight), dtype=torch.float64)
        self.count, self.fired = 0, self.y.clone()
        self.x = torch.zeros_like(layer.weight, dtype=torch.float64)
        self.xy = self.x.clone()

    def add(self, layer: Affine, a: Tensor, z: Tensor, last: bool) -> None:
        """Take the inputs and outputs of one batch in; the last layer has no relu, and counts everywhere."""
        mask = torch.ones_like(z) if last else (z > 0).to(z.dtype)
        places = [0, *range(2, z.dim())]
        self.count += z.numel() // z.shape[1]
        self.y += z.double().sum(places)
        self.fired += mask.sum(places)
        self.x += layer.outer(a, mask)
        self.xy += layer.outer(a, z * mask)

    def pattern(self, layer: Affine) -> Tensor:
        """Return a = c / wᵀc with c = E₊[x y] − E₊[x] E[y], in the type of the weights."""
        fired = layer.per_output(self.fired.clamp(min=1))
        covariance = self.xy / fired - self.x / fired * layer.per_output(self.y / max(self.count, 1))
        length = layer.per_output((layer.weight * covariance).flatten(1).sum(1))
        dead = length == 0
        pattern = torch.where(dead, torch.zeros_like(covariance), covariance / torch.where(dead, 1.0, length))
        return pattern.to(layer.weight)


def learn_patterns(network: nn.Module, batches: Iterable[Tensor]) -> Patterns:
    """Learn the patterns of a sequential network, in one pass over images.

    a = c / wᵀc with c = E₊[x y] − E₊[x] E[y], x the inputs of a unit, y its response, E₊ over the places and images
    where y > 0, E over all (for the last layer E₊ is E).

    Args:
        network: AlexNet, VGG or another sequential network; unchanged.
        batches: images ``[B, C, H, W]`` in [0, 1].

    Raises:
        ValueError: if the network is not sequential, or there are no images.

    Reference:
        Kindermans et al. 2018, Learning how to explain neural networks: PatternNet and PatternAttribution, Eq. 7, with
        the unconditional E[y] of Dombrowski's code.
    """
    sums: dict[int, _Sums] = {}
    layers: list[Affine | None] = []
    program: Program | None = None
    for x in batches:
        nothing = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        with asking(network, x, nothing, nothing, create_graph=False) as question, torch.no_grad():
            program = sequential_program(question.body, question.z)
            activations = run(program, question.z)
            layers = activations.layers
            last = max(number for number, layer in enumerate(layers) if layer is not None)
            for number, layer in enumerate(layers):
                if layer is not None:
                    sums.setdefault(number, _Sums(layer)).add(
                        layer, activations.values[number - 1], activations.values[number], number == last
                    )
    if program is None:
        raise ValueError("batches: patterns are learnt from images, got none.")
    with torch.no_grad():
        return Patterns(
            {
                program.steps[number].name: sums[number].pattern(layer).detach()
                for number, layer in enumerate(layers)
                if layer is not None
            }
        )
