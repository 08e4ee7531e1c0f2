"""A network's passes through ``torch.compile``, for the length of a ``with`` block."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
import torch._functorch.config
from torch import Tensor

from lightning_advinterp.networks.network import Features, Network


@dataclass(frozen=True)
class CompiledPasses:
    """Both kinds of pass, compiled.

    Attributes:
        logits: what :meth:`Network.forward` does.
        features: what :meth:`Network.forward_features` does; the features come out of the compiled function, because
            a hook that is set after its first call would never fire.
    """

    logits: Callable[[Tensor], Tensor]
    features: Callable[[Tensor, tuple[str, ...]], tuple[Tensor, Features]]


def check_backend(backend: str) -> None:
    """Refuse a backend that ``torch.compile`` does not have.

    Raises:
        ValueError: naming those there are.
    """
    backends = torch.compiler.list_backends(exclude_tags=())
    if backend not in backends:
        raise ValueError(f"compile must be true, false or a backend ({', '.join(backends)}), got {backend!r}.")


def compile_passes(network: Network, backend: str = "inductor") -> CompiledPasses:
    """Prepare the passes of a network for compilation, which happens at their first calls.

    A mode, a shape or a set of layers that is new is compiled anew: the loss's pass, the attack's, the validation's.

    Args:
        network: the network whose weights the passes use.
        backend: of ``torch.compile``; ``inductor`` makes code, ``aot_eager`` and ``eager`` find faults.

    Raises:
        ValueError: if there is no such backend.
    """
    check_backend(backend)
    compiled = torch.compile(network.eager_logits, backend=backend)
    features = torch.compile(network.eager_features, backend=backend)
    return CompiledPasses(
        cast(Callable[[Tensor], Tensor], compiled),
        cast(Callable[[Tensor, tuple[str, ...]], tuple[Tensor, Features]], features),
    )


@contextmanager
def compiled(network: Network, passes: CompiledPasses | None) -> Iterator[None]:
    """Let a network's calls take the compiled passes inside the block; with None they stay eager.

    Outside, and so in all explanations and analyses, the network is eager: compiled code knows neither hooks that came
    later nor second derivatives.
    """
    before = network.passes
    network.passes = passes
    # What is compiled at its first call, in here: the consistent loss goes backward twice through the clean pass, whose
    # buffers a first time must not give away.
    keeping = torch._functorch.config.patch(donated_buffer=False) if passes is not None else nullcontext()
    try:
        with keeping:
            yield
    finally:
        network.passes = before
