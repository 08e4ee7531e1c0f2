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
    """One pattern a for every weight vector w of a network, with wᵀa = 1.

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


def pattern_program(body: nn.Module, z: Tensor) -> Program:
    """Return the steps of a network of relu.

    Args:
        body: from normalised images to logits.
        z: normalised images ``[B, C, H, W]``, on which the steps are compared with the network.

    Raises:
        ValueError: naming the first step that patterns cannot pass, or that computes something else than the network.
    """
    program = verified_program(body, _METHOD, z)
    for step in program.steps:
        if step.op is Op.RELU6:
            raise ValueError(
                f"{_METHOD}: patterns are defined for relu, which fires without a bound, and layer {step.name} is a "
                "ReLU6. Take LRP."
            )
    return program


_HANDED_ON = (Op.SUM, Op.MAX_POOL, Op.AVERAGE, Op.SELECT)


def deciding_steps(program: Program) -> dict[int, int | None]:
    """Return for every layer with weights the step whose sign decides whether what the layer says is passed on.

    That is the layer itself where one relu reads it (also behind a pooling), and the last sum on the way where the
    layer's output is added to other branches before their one relu. None where no single relu follows, as of the last
    layer: its units count everywhere.
    """
    readers: dict[int, list[int]] = {number: [] for number in range(len(program.steps))}
    for number, step in enumerate(program.steps):
        for part in step.inputs:
            readers[part].append(number)
    deciding: dict[int, int | None] = {}
    for number, step in enumerate(program.steps):
        if step.op is not Op.LINEAR:
            continue
        place, decider = number, number
        while len(readers[place]) == 1 and program.steps[readers[place][0]].op in _HANDED_ON:
            place = readers[place][0]
            decider = place if program.steps[place].op is Op.SUM else decider
        ends = [program.steps[reader].op for reader in readers[place]]
        deciding[number] = decider if ends == [Op.RELU] else None
    return deciding


class _Sums:
    """Running sums of one layer: over all places, and over those where a unit fires.

    They are float64: a covariance is a small difference of large sums where inputs are never negative.
    """

    def __init__(self, layer: Affine) -> None:
        self.y = layer.weight.new_zeros(len(layer.weight), dtype=torch.float64)
        self.count, self.fired = 0, self.y.clone()
        self.x = torch.zeros_like(layer.weight, dtype=torch.float64)
        self.xy = self.x.clone()

    def add(self, layer: Affine, a: Tensor, z: Tensor, deciding: Tensor | None) -> None:
        """Take the inputs and outputs of one batch in, and where the relu behind them is open; None: everywhere."""
        mask = torch.ones_like(z) if deciding is None else (deciding > 0).to(z.dtype)
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
    """Learn the patterns of a network of relu, in one pass over images.

    a = c / wᵀc with c = E₊[x y] − E₊[x] E[y], x the inputs of a unit, y its response, E₊ over the places and images
    where y > 0, E over all (for the last layer E₊ is E).

    Both papers speak of layers that one relu follows. The same reasoning is extended: where y is added to other
    branches before their relu (ResNet), E₊ is over the places where that relu is open, since there y is passed on.
    Where no single relu of the same places follows, E₊ is E. A BatchNorm of its own reads one value for each that it
    returns, so that its pattern is 1/w and needs no images.

    Args:
        network: AlexNet, VGG, ResNet, SqueezeNet, DenseNet, …; unchanged.
        batches: images ``[B, C, H, W]`` in [0, 1].

    Raises:
        ValueError: naming what patterns are not defined for, or if there are no images.

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
            program = pattern_program(question.body, question.z)
            activations = run(program, question.z)
            layers, values = activations.layers, activations.values
            for number, decider in deciding_steps(program).items():
                layer = layers[number]
                if layer is not None:
                    a, z = values[program.steps[number].inputs[0]], values[number]
                    # of a sum in which the output was pooled or broadcast first, the places are not the layer's
                    deciding = None if decider is None or values[decider].shape != z.shape else values[decider]
                    sums.setdefault(number, _Sums(layer)).add(layer, a, z, deciding)
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
