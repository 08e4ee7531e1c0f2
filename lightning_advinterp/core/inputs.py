"""Images and class labels as users pass them: checked, and put into one form, for attacks, explanations, objectives."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

ROUNDING = 1e-5
"""So far outside [0, 1] a pixel is taken for a rounding error of resizing, and clipped."""

_looked_at: ContextVar[bool] = ContextVar("looked_at", default=False)


@contextmanager
def looked_at() -> Iterator[None]:
    """Let attacks inside the block take an accelerator's batches as they are: to look at values waits for the device.

    A training objective looks at its first batch, and its later ones come the same way. On a CPU every batch is looked
    at.
    """
    token = _looked_at.set(True)
    try:
        yield
    finally:
        _looked_at.reset(token)


def as_classes(value: Any, count: int, argument: str = "y", device: torch.device | None = None) -> Tensor:
    """Return one class index per image, int64 ``[B]``.

    Tensors, arrays and lists of any integer type are taken, also as a column ``[B, 1]``; a single integer is the class
    of every image.

    Args:
        value: the classes.
        count: number of images, B.
        argument: what the message calls the classes.
        device: where they are wanted.

    Raises:
        ValueError: for one-hot rows, probabilities, or another number of classes than of images.
    """
    try:
        classes = torch.as_tensor(value, device=device)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"{argument} must hold one class, int64, for each of {count} images, got {type(value).__name__}."
        ) from None
    shown = f"got {classes.dtype} of shape {tuple(classes.shape)}"
    if classes.dim() == 0 and not classes.is_floating_point() and classes.dtype != torch.bool:
        classes = classes.expand(count)
    if classes.dim() == 2 and classes.shape[1] == 1:
        classes = classes.squeeze(1)
    if classes.dim() == 2 and len(classes) == count:
        raise ValueError(
            f"{argument} must hold one class, int64, for each of {count} images, {shown}, which looks like "
            f"one-hot rows or probabilities; pass {argument}.argmax(1)."
        )
    if classes.shape != (count,):
        raise ValueError(f"{argument} must hold one class, int64, for each of {count} images, {shown}.")
    if classes.is_floating_point() or classes.is_complex():
        raise ValueError(
            f"{argument} must hold one class, int64, for each of {count} images, {shown}; pass {argument}.long()."
        )
    return classes.long()


def check_range(classes: Tensor, num_classes: int, argument: str = "y") -> None:
    """Refuse class indices that a network does not have; waits for the device.

    Raises:
        ValueError: naming the smallest and the largest.
    """
    if classes.numel():
        _check_range(torch.stack(classes.aminmax()).tolist(), num_classes, argument)


def check_pixels(x: Tensor) -> None:
    """Refuse images outside [0, 1] but for rounding; waits for the device.

    Raises:
        ValueError: naming the smallest and the largest value.
    """
    if x.numel():
        _check_pixels(*torch.stack(x.detach().aminmax()).tolist())


def _check_pixels(low: float, high: float) -> None:
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # NaN compares false
        raise ValueError(
            f"x must lie in [0, 1], got values in [{low:.8g}, {high:.8g}]; "
            "normalisation is the network's first layer, not the data set's."
        )


def _check_range(bounds: list[float], num_classes: int, argument: str) -> None:
    low, high = map(int, bounds)
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"{argument} must be classes 0 to {num_classes - 1} of the network, got {low} to {high}; "
            "classes count from 0, and an image without a label has none of them."
        )


def checked_batch(x: Any, classes: dict[str, Any], num_classes: int | None) -> tuple[Tensor, dict[str, Tensor | None]]:
    """Return images and their classes, ready for gradients.

    The device is waited for once, and inside :func:`looked_at` not at all.

    Args:
        x: float images ``[B, C, H, W]`` in [0, 1]. Rounding errors beyond are clipped.
        classes: argument's name to the classes of the images, or None.
        num_classes: outputs of the network; None where unknown, then no class is out of range.

    Returns:
        ``x`` without a graph, and int64 ``[B]`` classes by argument.

    Raises:
        ValueError: naming the argument, what was expected, and what came.
    """
    if not isinstance(x, Tensor) or x.dim() != 4 or x.dtype not in (torch.float32, torch.float64):
        shown = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(
            f"x must be float32 (or float64) images [B, C, H, W], got {shown}; "
            "half precision would round them out of the ball, and belongs inside the network."
        )
    checked = {
        argument: None if value is None else recordable(as_classes(value, len(x), argument, x.device))
        for argument, value in classes.items()
    }
    x = recordable(x.detach())
    if not x.numel() or (_looked_at.get() and x.device.type != "cpu"):
        return x, checked
    ranged = {key: value for key, value in checked.items() if value is not None and num_classes is not None}
    # float32 holds every class index, and is there on every accelerator
    bounds = torch.stack([bound.float() for values in (x, *ranged.values()) for bound in values.aminmax()]).tolist()
    for place, argument in enumerate(ranged, start=1):
        assert num_classes is not None
        _check_range(bounds[2 * place : 2 * place + 2], num_classes, argument)
    low, high = bounds[:2]
    _check_pixels(low, high)
    return (x if low >= 0 and high <= 1 else x.clamp(0, 1)), checked


def recordable(tensor: Tensor) -> Tensor:
    """Return the tensor, or a copy where it was made in inference mode and so can take part in no gradient."""
    return tensor.clone() if tensor.is_inference() else tensor


@contextmanager
def outside_inference_mode(network: nn.Module) -> Iterator[None]:
    """Leave ``torch.inference_mode`` for a while: gradients work inside it too.

    Raises:
        ValueError: if the network itself was made in inference mode.
    """
    if any(tensor.is_inference() for tensor in chain(network.parameters(), network.buffers())):
        raise ValueError(
            f"network: {type(network).__name__} was made inside torch.inference_mode, so it can never pass a gradient; "
            "make or load it outside."
        )
    with torch.inference_mode(False):
        yield
