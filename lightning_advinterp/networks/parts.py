"""Parts of what layers hand on: the input of a module, a token beside the patches, the output of an attention head.

A layer's name may end in ``:PART``:

| name | values |
| --- | --- |
| ``path:input`` | the first input of a module |
| ``path:class``, ``path:distillation``, ``path:register0`` | a token that lies nowhere in the image, ``[B, U]`` |
| ``path:head0`` | what the first head of an attention module returns, before the heads are projected, ``[B, T, U]`` |
"""

import re
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_advinterp.networks.sites import check_layers, parse_layer

_TOKENS = (
    (re.compile(r"(cls|class)_tokens?"), "class"),
    (re.compile(r"dist_tokens?"), "distillation"),
    (re.compile(r"(reg|register|storage)_tokens?"), "register"),
)
"""What the parameters of tokens beside the patches are called, in the order in which networks put them there."""
_PROJECTIONS = ("proj", "out_proj", "to_out")
_HEAD = re.compile(r"head(\d+)")


@dataclass(frozen=True)
class Place:
    """Where values are read: a side of a module's call, and a part of the tensor there.

    Attributes:
        path: of the module.
        call: which one in a forward pass, from 0; None for any.
        side: the module's output, or its first input.
        token: the only token of ``[B, T, U]`` that is meant; None: all.
        channels: the first channel of the last axis that is meant and the one after the last; None: all.
    """

    path: str
    call: int | None = None
    side: Literal["output", "input"] = "output"
    token: int | None = None
    channels: tuple[int, int] | None = None

    @property
    def whole(self) -> bool:
        """Whether all of the tensor is meant."""
        return self.token is None and self.channels is None

    def take(self, values: Tensor) -> Tensor:
        """Return the part of a tensor that is meant, a view.

        Raises:
            ValueError: if the tensor has no tokens.
        """
        if self.token is not None:
            self._require_tokens(values)
            return values[:, self.token]
        return values if self.channels is None else values[..., slice(*self.channels)]

    def put(self, values: Tensor, part: Tensor) -> Tensor:
        """Return a copy of a tensor with another part; ``part`` has the form that :meth:`take` returns."""
        if self.whole:
            return part
        if self.token is not None:
            self._require_tokens(values)
            return torch.cat([values[:, : self.token], part[:, None], values[:, self.token + 1 :]], dim=1)
        first, end = self.channels or (0, 0)
        return torch.cat([values[..., :first], part, values[..., end:]], dim=-1)

    def _require_tokens(self, values: Tensor) -> None:
        if values.dim() != 3:
            raise ValueError(
                f"layer {self.path!r} returns shape {list(values.shape)}, no tokens [B, T, U]; name a layer that "
                "returns tokens."
            )


def locate(backbone: nn.Module, layer: str) -> Place:
    """Return where the values of a layer's name are read.

    Args:
        backbone: whose module paths are meant.
        layer: ``path``, ``path#call`` or one of these with ``:PART``.

    Raises:
        ValueError: if there is no such module or part; names the parts that there are.
    """
    check_layers(backbone, [layer])
    reference = parse_layer(layer)
    if reference.part is None:
        return Place(reference.path, reference.call)
    if reference.part == "input":
        return Place(reference.path, reference.call, "input")
    head = _HEAD.fullmatch(reference.part)
    if head is not None:
        return _head_place(backbone, reference.path, reference.call, int(head[1]))
    tokens = tokens_apart(backbone)
    if reference.part not in tokens:
        raise ValueError(
            f"layer {layer!r}: {type(backbone).__name__} has {_listed(tokens)}; after ':' comes input, headN of an "
            "attention module, or one of these tokens."
        )
    return Place(reference.path, reference.call, token=tokens.index(reference.part))


def tokens_apart(backbone: nn.Module) -> tuple[str, ...]:
    """Return the tokens that a transformer puts before its patches, in order: ``class``, ``register0``, ….

    They are known by their parameters' names, which timm, torchvision and their kin share.
    """
    names: list[str] = []
    for pattern, word in _TOKENS:
        for name, parameter in backbone.named_parameters():
            if pattern.fullmatch(name.rpartition(".")[2]) and parameter.dim() >= 2:
                count = parameter.shape[-2]
                names += [word] if word != "register" else [f"{word}{number}" for number in range(count)]
                break
    return tuple(names)


def attention_heads(backbone: nn.Module, path: str) -> tuple[str, int] | None:
    """Return the path of the layer that projects an attention module's heads together, and how many heads there are.

    None for a module whose heads cannot be read, see :func:`no_heads`.
    """
    module = backbone.get_submodule(path)
    count = vars(module).get("num_heads")
    if not isinstance(count, int) or no_heads(module):
        return None
    children = dict(module.named_children())
    for name in _PROJECTIONS:
        projection = children.get(name)
        if isinstance(projection, nn.Linear) and projection.in_features % count == 0:
            return f"{path}.{name}", count
    return None


def no_heads(module: nn.Module) -> str:
    """Return why the heads of an attention module cannot be read; empty where nothing speaks against it."""
    if isinstance(module, nn.MultiheadAttention):
        return "computes its heads and their projection in one function; timm's transformers can be read"
    if "num_heads" in vars(module) and "Window" in type(module).__name__:
        return "attends within windows, whose tokens lie on no grid of the image"
    return ""


def _head_place(backbone: nn.Module, path: str, call: int | None, head: int) -> Place:
    heads = attention_heads(backbone, path)
    module = backbone.get_submodule(path)
    if heads is None:
        reason = no_heads(module) or "is no attention with heads and a projection"
        raise ValueError(f"layer '{path}:head{head}': {type(module).__name__} {reason}.")
    projection, count = heads
    if head >= count:
        raise ValueError(f"layer '{path}:head{head}': {path} has {count} heads, head0 to head{count - 1}.")
    width = linear_inputs(backbone, projection) // count
    return Place(projection, call, "input", channels=(head * width, (head + 1) * width))


def linear_inputs(backbone: nn.Module, path: str) -> int:
    """Return how many channels a linear layer reads."""
    linear = backbone.get_submodule(path)
    assert isinstance(linear, nn.Linear)
    return linear.in_features


def _listed(tokens: tuple[str, ...]) -> str:
    return f"the tokens {', '.join(tokens)} beside its patches" if tokens else "no tokens beside its patches"
