"""The blocks of a network, their attention and the neurons of their MLPs, by the structure of its modules."""

from collections.abc import Iterator, Sequence

from torch import nn

from lightning_advinterp.networks.parts import attention_heads
from lightning_advinterp.units.conv_layers import ConvTap
from lightning_advinterp.units.operations import Kind, classify_module

_LISTS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def mlp_activations(backbone: nn.Module) -> list[str]:
    """Return the paths of what follows the first linear layer of every block's MLP: its neurons.

    An MLP is a module within a block that has, among its parts in order, a linear layer, an activation and another
    linear layer; in a module that is called an MLP a 1x1 convolution is one, too. Classifiers of several linear layers
    lie in no block, and are none.
    """
    return [path for _, path in _mlps(backbone)]


def block_paths(backbone: nn.Module, convolutions: list[ConvTap]) -> list[str]:
    """Return the paths of the blocks of the main path: what returns the residual stream.

    Args:
        backbone: the network.
        convolutions: of its main path; where one is read as a block returns, that is a block.
    """
    blocks = [block for block, _ in _mlps(backbone)]
    taps = [conv.tap for conv in convolutions if "#" not in conv.tap]
    blocks += [tap for tap in taps if any(isinstance(part, nn.Conv2d) for part in _below(backbone.get_submodule(tap)))]
    order = {path: place for place, (path, _) in enumerate(backbone.named_modules(remove_duplicate=False))}
    return sorted(set(blocks), key=order.__getitem__)


def attention_paths(backbone: nn.Module) -> list[str]:
    """Return the paths of the attention modules of all blocks that have heads and a projection of these."""
    return [
        path
        for path, _ in backbone.named_modules()
        if path and attention_heads(backbone, path) is not None and _block_around(backbone, path) is not None
    ]


def in_order(backbone: nn.Module, paths: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return a key for each path that sorts modules as they are declared, and what has parts after its parts."""
    numbers = {name: number for number, (name, _) in enumerate(backbone.named_modules(remove_duplicate=False))}
    last: dict[str, int] = {}
    for name, number in numbers.items():
        parts = name.split(".")
        for depth in range(len(parts) + 1):
            last[".".join(parts[:depth])] = number  # numbers rise: the last part's stays
    return {path: (last[path], -path.count(".")) for path in paths}


def _mlps(backbone: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the block of every MLP, and the path of its activation."""
    for path, module in backbone.named_modules():
        name = _activation(module)
        block = None if name is None else _block_around(backbone, path)
        if block is not None:
            yield block, f"{path}.{name}"


def _activation(module: nn.Module) -> str | None:
    """Return the activation's name, where the parts of a module are those of an MLP."""
    linear = activation = None
    called = "mlp" in type(module).__name__.lower()
    for name, part in module.named_children():
        counts = isinstance(part, nn.Linear) or (called and isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1))
        if counts and activation is not None:
            return activation
        if counts:
            linear = name
        elif linear is not None and classify_module(part) is Kind.ACTIVATION:
            activation = name
    return None


def _block_around(backbone: nn.Module, path: str) -> str | None:
    """Return the innermost module around an MLP that is one of a list of modules, and no plain sequence itself."""
    while path:
        parent = path.rpartition(".")[0]
        module = backbone.get_submodule(path)
        if type(module) not in _LISTS and parent and isinstance(backbone.get_submodule(parent), _LISTS):
            return path
        path = parent
    return None


def _below(module: nn.Module) -> Iterator[nn.Module]:
    parts = iter(module.modules())
    next(parts)
    yield from parts
