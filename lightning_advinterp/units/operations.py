"""What an operation of a traced network is for, as far as following a convolution's response needs it."""

import operator
from enum import Enum, auto
from typing import Any

import torch
from torch import fx, nn

from lightning_advinterp.networks.trace import function_name, operation_name


class Kind(Enum):
    """Kinds of operations."""

    CONV = auto()
    NORM = auto()
    NORM_ACTIVATION = auto()  # fused in one module
    ACTIVATION = auto()
    IDENTITY = auto()  # in eval mode: dropout, stochastic depth; also the sum with a number
    MAX_POOL = auto()
    GLOBAL_POOL = auto()
    ADD = auto()
    MUL = auto()
    CONSTANT = auto()
    OTHER = auto()


_ACTIVATION_MODULES = ("torch.nn.modules.activation", "timm.layers.activations", "timm.layers.activations_me")
_ACTIVATION_FUNCTIONS = (
    *(
        "relu",
        "relu6",
        "leaky_relu",
        "prelu",
        "rrelu",
        "elu",
        "celu",
        "selu",
        "gelu",
        "silu",
        "swish",
        "mish",
    ),
    *("hardswish", "hard_swish", "hardtanh", "hardsigmoid", "hard_sigmoid", "sigmoid", "tanh", "softplus"),
)
_IDENTITIES = ("Identity", "DropPath", "StochasticDepth", "DropBlock2d")
_IDENTITY_FUNCTIONS = (
    "dropout",
    "dropout2d",
    "feature_dropout",
    "stochastic_depth",
    "drop_path",
    "contiguous",
    "clone",
)
_NORM_FUNCTIONS = ("batch_norm", "group_norm", "instance_norm", "local_response_norm")
_ADDS: tuple[Any, ...] = (operator.add, operator.iadd, torch.add)
_MULS: tuple[Any, ...] = (operator.mul, operator.imul, torch.mul)


def classify(node: fx.Node, module: nn.Module | None) -> Kind:
    """Return the kind of a node; ``module`` is the leaf module that it calls."""
    if node.op == "get_attr":
        return Kind.CONSTANT
    if module is not None:
        return classify_module(module)
    if node.op == "call_method":
        return _classify_function(
            str(node.target), node, {"add": Kind.ADD, "add_": Kind.ADD, "mul": Kind.MUL, "mul_": Kind.MUL}
        )
    if node.op == "call_function":
        if node.target in _ADDS:
            return Kind.ADD if len(node.all_input_nodes) > 1 else Kind.IDENTITY
        if node.target in _MULS:
            return Kind.MUL
        return _classify_function(function_name(node.target), node, {})
    return Kind.OTHER


def classify_module(module: nn.Module) -> Kind:
    """Return the kind of a module that computes one thing; ``OTHER`` for blocks, too."""
    name = type(module).__name__
    if isinstance(module, nn.Conv2d):
        return Kind.CONV
    if any(base.__module__ in _ACTIVATION_MODULES for base in type(module).__mro__):
        return Kind.ACTIVATION
    blocks = any(isinstance(part, nn.Conv2d) for part in module.modules())  # NormFreeBlock is no norm
    if ("Norm" in name and not blocks) or isinstance(module, nn.LayerNorm):
        fused = getattr(module, "act", None)
        return Kind.NORM if fused is None or isinstance(fused, nn.Identity) else Kind.NORM_ACTIVATION
    if name in _IDENTITIES or isinstance(module, nn.Dropout | nn.Dropout2d | nn.Identity):
        return Kind.IDENTITY
    if isinstance(module, nn.MaxPool2d):
        return Kind.MAX_POOL
    if (
        isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d)
        or "GlobalPool" in name
        or "SelectAdaptive" in name
    ):
        return Kind.GLOBAL_POOL
    return Kind.OTHER


def _classify_function(name: str, node: fx.Node, special: dict[str, Kind]) -> Kind:
    if name in special:
        return special[name]
    if name.rstrip("_") in _ACTIVATION_FUNCTIONS:
        return Kind.ACTIVATION
    if name in _NORM_FUNCTIONS:
        return Kind.NORM
    if name in _IDENTITY_FUNCTIONS:
        return Kind.IDENTITY
    if name in ("adaptive_avg_pool2d", "adaptive_max_pool2d", "mean", "amax"):
        return Kind.GLOBAL_POOL
    if name in ("max_pool2d", "_max_pool2d"):
        return Kind.MAX_POOL
    return Kind.OTHER


def is_rectified(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a node's result is a ReLU's (or ReLU6's), also as the second half of a fused normalisation."""
    if module is not None:
        fused = getattr(module, "act", None)  # timm's BatchNormAct2d
        rectifier = fused if isinstance(fused, nn.Module) and "Norm" in type(module).__name__ else module
        return isinstance(rectifier, nn.ReLU | nn.ReLU6)
    target = operation_name(node)
    return target.rstrip("_") in ("relu", "relu6")
