"""What layers return for an image of the network's own size, and which modules they are."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_advinterp.networks.dry import dry_forward
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.networks.network import Network
from lightning_advinterp.units.operations import classify_module

logger = logging.getLogger(__name__)


def output_shapes(network: Network, taps: Sequence[str]) -> dict[str, tuple[int, ...]] | None:
    """Return what every tap returns for an image of the network's own size; None where it does not take that."""
    parameter = next(network.parameters(), torch.zeros(()))
    side = network.input_size
    image = torch.zeros(1, len(network.mean), side, side, device=parameter.device)
    network.prepare(taps)
    devices = [parameter.device] if parameter.device.type == "cuda" else []
    with torch.no_grad(), frozen_eval(network), torch.random.fork_rng(devices=devices):
        try:
            features = network.eager_features(image, tuple(taps))[1]
        except Exception:
            try:
                network.eager_logits(image)
            except Exception as error:  # it takes images of another size alone
                logger.debug("%s takes no image of its own size, %d pixels: %s", network.name, side, error)
                return None
            raise  # it does, so it is a layer that cannot be read
    return {tap: tuple(values.shape) for tap, values in features.items()}


def patch_grids(network: Network) -> list[tuple[int, int]]:
    """Return the grids of patches into which convolutions cut an image of the network's own size."""
    grids: list[tuple[int, int]] = []

    def note(path: str, output: object) -> None:
        if cuts_patches(network.backbone, path) and isinstance(output, Tensor):
            grids.append((output.shape[-2], output.shape[-1]))

    dry_forward(network.backbone, len(network.mean), network.input_size, note)
    return grids


def cuts_patches(backbone: nn.Module, path: str) -> bool:
    """Whether a module is the convolution that cuts an image into patches."""
    conv = backbone.get_submodule(path)
    return isinstance(conv, nn.Conv2d) and conv.kernel_size == conv.stride and max(conv.stride) > 1


def module_at(network: Network, tap: str) -> nn.Module | None:
    """Return the module behind a tap; None for the logits."""
    return None if tap == "logits" else network.backbone.get_submodule(network.place(tap).path)


def kind_of(module: nn.Module | None) -> str:
    """Return what a module is: ``conv``, ``norm``, ``activation``, ``linear``, ``block``, ``other``, …."""
    if module is None:
        return "other"
    if any(True for _ in module.children()):
        return "block"
    return "linear" if isinstance(module, nn.Linear) else classify_module(module).name.lower()
