"""The last layer of a classifier: where it is, how many classes it has, and another one in its place."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

_NAMES = ("fc", "classifier", "heads", "head", "linear", "last_linear")


def head_path(backbone: nn.Module) -> str | None:
    """Return the path of the layer that makes the logits, or None where it cannot be told.

    timm networks say it themselves; else it is the last linear (SqueezeNet: 1×1 convolutional) layer of the
    attribute that carries one of the usual names.
    """
    config = getattr(backbone, "pretrained_cfg", None)
    if isinstance(config, Mapping) and isinstance(config.get("classifier"), str):
        declared = str(config["classifier"])
        if declared in dict(backbone.named_modules()):
            return declared
    for name in _NAMES:
        part = getattr(backbone, name, None)
        if isinstance(part, nn.Module):
            paths: list[str] = [path for path, module in part.named_modules(prefix=name) if _is_head(module)]
            if paths:
                return paths[-1]
    return None


def _is_head(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.Conv2d)


def count_classes(backbone: nn.Module) -> int | None:
    """Return the number of logits that the last layer makes, or None where it is not known."""
    path = head_path(backbone)
    if path is None:
        return None
    head = backbone.get_submodule(path)
    weight = head.weight
    return int(weight.shape[0]) if isinstance(weight, Tensor) else None


def count_classes_in(tensors: Mapping[str, Tensor], backbone: nn.Module) -> int | None:
    """Return the number of classes of weights for ``backbone``, or None where it is not known."""
    path = head_path(backbone)
    weight = tensors.get(f"{path}.weight")
    return None if weight is None else int(weight.shape[0])


def head_keys(backbone: nn.Module) -> set[str]:
    """Return the ``state_dict`` keys of the last layer."""
    path = head_path(backbone)
    return set() if path is None else {key for key in backbone.state_dict() if key.startswith(f"{path}.")}


def replace_head(backbone: nn.Module, num_classes: int) -> None:
    """Put a freshly initialised last layer for ``num_classes`` in place of the present one.

    Raises:
        ValueError: if it is not known which layer that is.
    """
    if hasattr(backbone, "reset_classifier"):
        backbone.reset_classifier(num_classes)  # type: ignore[operator]
        return
    path = head_path(backbone)
    if path is None:
        raise ValueError(
            f"num_classes={num_classes}: it is not known which layer of {type(backbone).__name__} makes "
            "the logits; let its constructor take num_classes."
        )
    old = backbone.get_submodule(path)
    parent, _, name = path.rpartition(".")
    setattr(backbone.get_submodule(parent), name, _like(old, num_classes))
    if isinstance(getattr(backbone, "num_classes", None), int):
        backbone.num_classes = num_classes  # type: ignore[assignment]


def _like(old: nn.Module, num_classes: int) -> nn.Module:
    """A layer like ``old`` with ``num_classes`` outputs: weights from N(0, 0.01²), biases 0."""
    new: nn.Linear | nn.Conv2d
    if isinstance(old, nn.Conv2d):
        new = nn.Conv2d(old.in_channels, num_classes, old.kernel_size, bias=old.bias is not None)  # type: ignore[arg-type]
    elif isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, num_classes, bias=old.bias is not None)
    else:
        raise TypeError(f"the last layer must be linear or convolutional, got {type(old).__name__}.")
    nn.init.normal_(new.weight, std=0.01)
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    return new.to(device=_device(old))


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device
