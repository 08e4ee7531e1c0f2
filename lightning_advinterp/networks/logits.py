"""The logits in whatever a backbone returns."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def logits_of(output: Any, name: str, classes: int | None = None) -> Tensor:
    """Return the logits in what a backbone returned: itself, its ``logits``, or its first part.

    Args:
        output: a tensor, or a dict, tuple or object that has them.
        name: what an error calls the network.
        classes: how many its last layer makes, where that is known.

    Raises:
        ValueError: if there are none ``[B, K]``, or not in the first place although the last layer says so.
    """
    if isinstance(output, Tensor):
        logits: Any = output
    elif isinstance(output, Mapping):
        logits = output.get("logits", output.get("out"))
    else:
        logits = getattr(output, "logits", output[0] if isinstance(output, tuple | list) and output else None)
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise ValueError(
            f"{name} must return logits [B, K], or have them first or as 'logits', got {_shapes(output)}; wrap it in a "
            "class that returns them."
        )
    if classes is not None and logits.shape[1] != classes and f", {classes}]" in _shapes(output):
        raise ValueError(
            f"{name} must return its logits first or as 'logits', got {_shapes(output)}, and its last layer makes "
            f"{classes}; wrap it in a class that returns them."
        )
    return logits


def _shapes(output: Any) -> str:
    """Describe what a backbone returned."""
    if isinstance(output, Tensor):
        return f"shape {list(output.shape)}"
    if isinstance(output, Mapping):
        return ", ".join(f"{key!r}: {_shapes(value)}" for key, value in output.items()) or "an empty dict"
    if isinstance(output, tuple | list):
        return f"{type(output).__name__} of {', '.join(map(_shapes, output)) or 'nothing'}"
    return type(output).__name__
