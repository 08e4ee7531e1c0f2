"""Modes of a network as context managers: each undoes itself, also after an error."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_advinterp.core.errors import RunStoppedError

logger = logging.getLogger(__name__)

BatchNormMode = Literal["train", "eval", "frozen"]
"""Which statistics BatchNorm uses.

``train``: an attack uses the batch's statistics without updating the running ones, which only the loss's own
forwards update. ``eval``: an attack uses the running statistics. ``frozen``: running statistics everywhere and
never updated, for weights whose statistics are estimates. Every evaluation is ``eval``.
"""


def check_batch_norm_mode(bn: str) -> None:
    """Refuse an unknown mode by name."""
    if bn not in ("train", "eval", "frozen"):
        raise ValueError(f"bn must be train, eval or frozen, got {bn!r}.")


def _batch_norms(network: nn.Module) -> list[_BatchNorm]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


def warn_of_batches(network: nn.Module, size: int) -> None:
    """Say so where images of a batch influence each other in eval mode too: BatchNorm without running statistics.

    Args:
        network: any module.
        size: images of a batch.
    """
    for name, part in network.named_modules():
        if isinstance(part, _BatchNorm) and part.running_mean is None:
            logger.warning(
                "%s normalises by the batch's own statistics (%s has no running ones): every number depends on which "
                "images stand together in batches of %d.",
                getattr(network, "name", type(network).__name__),
                name,
                size,
            )
            return


@contextmanager
def batch_of_one_explained(network: nn.Module, size: int) -> Iterator[None]:
    """Say what to do where BatchNorm meets one image, whose places are one: it has no variance.

    Args:
        network: any module.
        size: images of the batch.

    Raises:
        RunStoppedError: instead of torch's error, which names neither the layers nor a remedy.
    """
    try:
        yield
    except ValueError as error:
        if size != 1 or "more than 1 value per channel" not in str(error):
            raise
        names = [name for name, part in network.named_modules() if isinstance(part, _BatchNorm)]
        listed = ", ".join(names[:3]) + ", …" * (len(names) > 3)
        raise RunStoppedError(
            f"batch: BatchNorm ({listed}) cannot normalise a batch of one image by its own statistics: take a "
            "batch_size of 2 or more per process (and drop_last in a loader of your own, whose last batch may be "
            "short), or bn: frozen for running statistics."
        ) from error


@contextmanager
def _restored_modes(network: nn.Module) -> Iterator[None]:
    """Put every module's own training flag back (``network.train()`` would set them all alike)."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def attack_mode(network: nn.Module, bn: BatchNormMode = "eval") -> Iterator[None]:
    """The mode in which an attack sees a network: dropout off, BatchNorm as ``bn`` says, nothing updated.

    Args:
        network: any module; its modes and its BatchNorm statistics come back as they were.
        bn: ``train`` normalises by the batch's own statistics where the network is in training mode;
            ``eval`` and ``frozen`` by the running ones.
    """
    training = network.training
    with _restored_modes(network), _input_gradients_alone(network):
        network.eval()
        if bn != "train" or not training:
            yield
            return
        tracking = [(module, module.track_running_stats) for module in _batch_norms(network)]
        try:
            for module, _ in tracking:
                module.training = True
                module.track_running_stats = False  # batch statistics in use, running ones out of reach
            yield
        finally:
            for module, tracked in tracking:
                module.track_running_stats = tracked


@contextmanager
def _input_gradients_alone(network: nn.Module) -> Iterator[None]:
    """Take the parameters out of compiled passes, which compute every gradient that they could be asked for.

    An eager backward pass leaves out by itself what nobody wants.
    """
    if getattr(network, "passes", None) is None:
        yield
        return
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        for parameter in trainable:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


@contextmanager
def frozen_batch_norm(network: nn.Module, bn: BatchNormMode) -> Iterator[None]:
    """The mode of a training step: with ``bn="frozen"`` BatchNorm keeps to its running statistics."""
    if bn != "frozen":
        yield
        return
    with _restored_modes(network):
        for module in _batch_norms(network):
            module.training = False
        yield


@contextmanager
def frozen_eval(network: nn.Module) -> Iterator[None]:
    """The mode of every evaluation: eval, and parameters that record no graph (inputs still may)."""
    requirements = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    with _restored_modes(network):
        try:
            network.eval()
            for parameter, _ in requirements:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter, requires_grad in requirements:
                parameter.requires_grad_(requires_grad)
