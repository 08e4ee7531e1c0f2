"""Networks beside the one under test in a sweep over β: trained with softplus, or with ReLU from other seeds."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob, has_magic

from lightning_advinterp.networks.activations import bends_in_a_point
from lightning_advinterp.networks.checkpoint import load_checkpoint
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.same_outputs import require_same_outputs
from lightning_advinterp.networks.weights import weights_hash

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SweptNetwork:
    """A network whose maps are attacked.

    Attributes:
        network: eval mode.
        checkpoint: the file that it comes from; None for the network under test.
        smooth: whether it calls nothing that bends in a point, so that its Hessian need not be a surrogate's.
    """

    network: Network
    checkpoint: str | None = None
    smooth: bool = False

    @classmethod
    def of(cls, network: Network, checkpoint: str | None = None) -> "SweptNetwork":
        """Return a network with what its activations say."""
        return cls(network, checkpoint, not bends_in_a_point(network))

    def betas(self, betas: Sequence[float]) -> tuple[float, ...]:
        """Return the β with which it is smoothed after training: none for one beside that is smooth already."""
        return () if self.smooth and self.checkpoint is not None else tuple(betas)


def checkpoint_paths(patterns: Sequence[str]) -> list[str]:
    """Return the files that paths and patterns (``runs/softplus_*/last.ckpt``) name, each once.

    Raises:
        ValueError: naming a pattern that no file matches.
    """
    paths: dict[str, None] = {}
    for pattern in patterns:
        matching = sorted(glob(pattern)) if has_magic(pattern) else [pattern]
        if not matching:
            raise ValueError(f"curvature.trained: no file matches {pattern!r}; name checkpoints of runs, …/last.ckpt.")
        paths |= dict.fromkeys(matching)
    return list(paths)


def load_beside(patterns: Sequence[str], tested: Network) -> list[SweptNetwork]:
    """Return the networks of checkpoints; that of the network under test, if it is among them, is left out.

    Args:
        patterns: see :func:`checkpoint_paths`.
        tested: the network under test.

    Raises:
        FileNotFoundError: if a file does not exist.
        ValueError: if a network has other classes, or is meant for images of another size.
    """
    if not patterns:
        return []
    device, tested_hash = next(tested.parameters()).device, weights_hash(tested)
    beside = []
    for path in checkpoint_paths(patterns):
        network = load_checkpoint(path).network.to(device).eval()
        sizes = [(each.num_classes, len(each.mean), each.input_size) for each in (tested, network)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"curvature.trained: {path} and the network under test must have as many classes and channels and "
                f"images of one size, got {sizes[1]} and {sizes[0]}."
            )
        require_same_outputs(
            tested.origin, network.origin, f"curvature.trained: {path} and the network under test", "leave it out"
        )
        if weights_hash(network) == tested_hash:
            logger.info("curvature.trained: %s is the network under test; it is measured once.", path)
            continue
        beside.append(SweptNetwork.of(network, path))
    return beside
