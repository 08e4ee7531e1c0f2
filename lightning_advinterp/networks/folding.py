"""BatchNorm folded into the convolution before it: the same function up to rounding, in fewer operations."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lightning_advinterp.networks.timm_layers import activation_of_norm, is_same_convolution
from lightning_advinterp.networks.trace import Trace, trace_network


class FoldablePair(NamedTuple):
    """A convolution and the BatchNorm that alone reads it.

    Attributes:
        convolution: path in the backbone.
        norm: likewise.
        changed: paths of modules at which another number could be read once the two are one.
    """

    convolution: str
    norm: str
    changed: frozenset[str]


def foldable_pairs(backbone: nn.Module) -> list[FoldablePair]:
    """List the BatchNorms that can be folded, in the order of computation.

    Each follows a convolution whose output nothing else reads; both are called once in a pass, and the norm has running
    statistics. A network that cannot be traced has none.

    Args:
        backbone: from normalised images to logits; unchanged.
    """
    try:
        trace = trace_network(backbone)
    except Exception:  # data-dependent control flow shows in many kinds of error
        return []
    return list(_pairs(trace))


def _pairs(trace: Trace) -> Iterator[FoldablePair]:
    for norm in trace.traced.nodes:
        if not _is_norm(trace.module(norm)) or not norm.args or not isinstance(norm.args[0], fx.Node):
            continue
        convolution = norm.args[0]
        if not _is_convolution(trace.module(convolution)) or list(convolution.users) != [norm]:
            continue
        returned, returned_norm = trace.results[convolution], trace.results[norm]
        if "#" in returned[0] or "#" in returned_norm[0]:
            continue  # one of them is called again elsewhere in the pass
        reading = [call for call, (node, _) in trace.inputs.items() if node is convolution]
        paths = frozenset(call.partition("#")[0] for call in (*returned, returned_norm[0], *reading))
        yield FoldablePair(returned[0], returned_norm[0], paths)


def _is_norm(module: nn.Module | None) -> bool:
    """Whether a module is BatchNorm with running statistics, alone or with an activation behind it."""
    if not isinstance(module, nn.BatchNorm2d) or module.running_mean is None:
        return False
    return type(module) is nn.BatchNorm2d or activation_of_norm(module) is not None


def _is_convolution(module: nn.Module | None) -> bool:
    return module is not None and (type(module) is nn.Conv2d or is_same_convolution(module))


def fold(backbone: nn.Module, pairs: Sequence[FoldablePair]) -> None:
    """Fold in place: each convolution takes its norm's scale and shift, and the norm's activation stays in its place.

    Args:
        backbone: in evaluation mode.
        pairs: from :func:`foldable_pairs` of a network like it.
    """
    for pair in pairs:
        convolution, norm = (backbone.get_submodule(path) for path in (pair.convolution, pair.norm))
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        _put(backbone, pair.convolution, fuse_conv_bn_eval(convolution, norm))
        _put(backbone, pair.norm, activation_of_norm(norm) or nn.Identity())


def _put(root: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(root.get_submodule(parent), name, module)
