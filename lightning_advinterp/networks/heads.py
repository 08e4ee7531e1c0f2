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


def input_channels(backbone: nn.Module) -> int:
    """Return the number of channels of the images that a network takes: those of its first convolution, else 3."""
    return next((module.in_channels for module in backbone.modules() if isinstance(module, nn.Conv2d)), 3)


def _is_head(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.Conv2d)


def count_classes(backbone: nn.Module, path: str | None = None) -> int | None:
    """Return the number of logits that the last layer makes, or None where it is not known.

    Args:
        backbone: the network.
        path: of its last layer, by default what :func:`head_path` says.
    """
    path = path or head_path(backbone)
    if path is None:
        return None
    head = backbone.get_submodule(path)
    weight = head.weight
    return int(weight.shape[0]) if isinstance(weight, Tensor) else None


def head_of(backbone: nn.Module, tensors: Mapping[str, Tensor]) -> tuple[str | None, int | None]:
    """Return the path of the last layer, and the number of classes of weights for the backbone; None where unknown.

    A last layer without a usual name is known where it is the only one whose weights have another number of outputs.
    """
    path = head_path(backbone)
    weight = tensors.get(f"{path}.weight")
    if weight is not None:
        return path, int(weight.shape[0])
    state = backbone.state_dict()
    layers = {
        key.rpartition(".")[0] for key, value in tensors.items() if key in state and value.shape != state[key].shape
    }
    if len(layers) != 1:
        return path, None
    (layer,) = layers
    weight, present = tensors.get(f"{layer}.weight"), state.get(f"{layer}.weight")
    if weight is None or present is None or not _is_head(backbone.get_submodule(layer)):
        return path, None
    return (layer, int(weight.shape[0])) if weight.shape[1:] == present.shape[1:] else (path, None)


def head_keys(backbone: nn.Module, path: str | None = None) -> set[str]:
    """Return the ``state_dict`` keys of the last layer; ``path`` as in :func:`count_classes`."""
    path = path or head_path(backbone)
    return set() if path is None else {key for key in backbone.state_dict() if key.startswith(f"{path}.")}


def divide_head(backbone: nn.Module, temperature: float) -> None:
    """Divide the logits of a trained network by a temperature, in the weights and biases of its last layer.

    Raises:
        ValueError: if it is not known which layer that is, or the temperature is not above 0.
    """
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature must be a number above 0, by which logits are divided, got {temperature}.")
    path = head_path(backbone)
    if path is None:
        raise ValueError(
            f"temperature={temperature}: it is not known which layer of {type(backbone).__name__} makes the logits; "
            "divide them in a class of your own, and give temperature 1."
        )
    with torch.no_grad():
        for parameter in backbone.get_submodule(path).parameters():
            parameter.div_(temperature)


def replace_head(backbone: nn.Module, num_classes: int, path: str | None = None) -> None:
    """Put a freshly initialised last layer for ``num_classes`` in place of the present one.

    Args:
        backbone: the network.
        num_classes: number of logits.
        path: of its last layer, by default what :func:`head_path` says.

    Raises:
        ValueError: if it is not known which layer that is.
    """
    if hasattr(backbone, "reset_classifier"):
        backbone.reset_classifier(num_classes)  # type: ignore[operator]
        return
    path = path or head_path(backbone)
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
