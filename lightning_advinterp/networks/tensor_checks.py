"""Tensors that no network can be right with: on no device, quantised, of another kind, or no numbers."""

import logging
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from lightning_advinterp.core.trust import current_trust

_SHOWN = 3

logger = logging.getLogger(__name__)


def check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights that a network would take up, and be wrong with, without a word.

    Values that are no numbers pass where the user asked for them, see :class:`~lightning_advinterp.core.trust.Trust`.

    Args:
        tensors: by the network's own keys; of the shapes of ``expected``.
        expected: the network's own tensors.
        source: the file, for messages.

    Raises:
        ValueError: naming the tensors.
    """
    kinds = dict(_of_another_kind(tensors, expected))
    if kinds:
        raise ValueError(f"weights: {source} holds {listed(kinds)}; save the network's float weights on the CPU.")
    wrong = dict(no_numbers(tensors, expected))
    if not wrong:
        return
    if current_trust().on_bad_weights == "error":
        raise ValueError(
            f"weights: {source} holds {listed(wrong)}; the training diverged or the file is damaged. Take an earlier "
            "checkpoint, or look at it as it is: evaluate.py --on_bad_weights use."
        )
    logger.warning("%s holds %s; used as they are.", source, listed(wrong))


def no_numbers(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor] | None = None
) -> Iterator[tuple[str, str]]:
    """Yield the names of tensors with NaN or infinity and of negative variances, and what is wrong with each.

    Args:
        tensors: by name.
        expected: the network's own; where these hold infinity (masks do), it is meant.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or (expected is not None and not _finite(expected[name])):
            continue
        if not _finite(tensor):
            yield name, "NaN or infinity"
        elif name.endswith("running_var") and bool((tensor < 0).any()):
            yield name, "negative variances"


def _finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    # Not every operation knows the types of 8 bits.
    return bool(torch.isfinite(tensor if tensor.element_size() > 1 else tensor.float()).all())


def _of_another_kind(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    for name, tensor in tensors.items():
        target = expected[name]
        if tensor.device.type == "meta":
            yield name, "no values (it lies on the device meta)"
        elif tensor.is_quantized or tensor.layout is not torch.strided:
            yield name, "quantised values" if tensor.is_quantized else "sparse values"
        elif target.is_floating_point() != tensor.is_floating_point() and not _counts(tensor, target):
            yield name, f"values of type {str(tensor.dtype).removeprefix('torch.')}"


def _counts(tensor: Tensor, target: Tensor) -> bool:
    """Whether a float tensor holds whole numbers for a network's own: some programs count batches in floats."""
    return tensor.is_floating_point() and not target.is_complex() and bool((tensor == tensor.round()).all())


def listed(wrong: Mapping[str, str]) -> str:
    """Return what is wrong with tensors, the first few by name."""
    text = ", ".join(f"{what} in {name}" for name, what in list(wrong.items())[:_SHOWN])
    return text if len(wrong) <= _SHOWN else f"{text}, … ({len(wrong)} tensors in all)"
