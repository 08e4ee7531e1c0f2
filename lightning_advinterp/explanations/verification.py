"""Whether a network's list of steps computes what the network does: a trace sees neither aliases nor hooks."""

from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from lightning_advinterp.explanations.linear import run
from lightning_advinterp.explanations.program import Program, program_of
from lightning_advinterp.networks.logits import logits_of
from lightning_advinterp.networks.timm_layers import activation_of_norm

_VERIFIED: "WeakKeyDictionary[nn.Module, Program]" = WeakKeyDictionary()


def verified_program(body: nn.Module, method: str, z: Tensor) -> Program:
    """Return the steps of a network, compared once with the network itself: one more forward pass per program.

    Args:
        body: from normalised images to logits, in eval mode.
        method: the explanation's name, for messages.
        z: normalised images ``[B, C, H, W]`` on which both are run.

    Raises:
        ValueError: as :func:`~lightning_advinterp.explanations.program.program_of`, or naming the first layer whose
            output differs.
    """
    program = program_of(body, method)
    if _VERIFIED.get(body) is not program:
        _verify(program, body, method, z.detach())
        _VERIFIED[body] = program
    return program


def _verify(program: Program, body: nn.Module, method: str, z: Tensor) -> None:
    with torch.no_grad(), torch.autocast(z.device.type, enabled=False):
        values = run(program, z).values
        if alike(values[-1], logits_of(body(z), type(body).__name__)):
            return
        where = _first_difference(program, body, z, values)
    raise ValueError(
        f"{method} propagates through a network's layers, and {type(body).__name__} computes something else than they "
        f"say: the first to differ is {where}. A forward hook that changes an output does that, or an operation in "
        "place whose input is read again (relu_(x), nn.ReLU(inplace=True), x += y). Remove the hook, work out of "
        "place, or take a gradient method."
    )


def _first_difference(program: Program, body: nn.Module, z: Tensor, values: list[Tensor]) -> str:
    """Return the name of the first layer with weights whose output is not the step's, else the logits."""
    outputs: dict[nn.Module, list[Tensor]] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        outputs[module].append(output.clone())  # what follows may work in place

    layers = []
    for number, step in enumerate(program.steps):
        module = step.norm or step.module
        ends = number + (activation_of_norm(module) is not None)  # timm's BatchNorm returns what the next step does
        layers.append((module, step.name, values[ends]))
    handles = []
    try:
        for module, _, _ in layers:
            if module is not None and module not in outputs:
                outputs[module] = []
                handles.append(module.register_forward_hook(note))
        body(z)
    finally:
        for handle in handles:
            handle.remove()
    for module, name, value in layers:
        if module is not None and (not outputs[module] or not alike(value, outputs[module].pop(0))):
            return f"layer {name}"
    return "what the network makes of its last layer"


def alike(first: Tensor, second: Tensor) -> bool:
    """Whether two outputs ``[B, …]`` agree in every image but for the rounding of weights with BatchNorm folded in."""
    # Inception v3, of the families the worst, is off by 1e-6 in float32 and 0.04 in bfloat16; a GPU may take TF32
    tolerance = {torch.float64: 1e-7, torch.float32: 1e-3 if first.device.type == "cpu" else 2e-2}
    if first.shape != second.shape:
        return False
    a, b = first.flatten(1).double(), second.flatten(1).double()
    near = (a - b).norm(dim=1) <= tolerance.get(first.dtype, 0.2) * b.norm(dim=1)
    return bool((near | ~b.isfinite().all(1)).all())
