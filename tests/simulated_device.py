"""An accelerator for machines without one: it counts what waits for the device, and refuses to mix devices.

Tensors made on the device, or by functions of such, carry a mark; everything is computed on the CPU. What a program
asks of them shows in Python: their ``device``, their values (which waits), and operations with unmarked tensors of one
dimension or more (which an accelerator refuses).
"""

import sys
from collections import Counter
from pathlib import Path

import torch
from torch.overrides import TorchFunctionMode

import lightning_advinterp

DEVICE = torch.device("cuda", 0)
_PACKAGE = str(Path(lightning_advinterp.__file__).parent)
_WAITING = {"item", "tolist", "__bool__", "__int__", "__float__", "__index__", "numpy", "cpu", "__array__"}
_WAITING |= {"nonzero", "argwhere", "masked_select", "unique", "unique_consecutive", "equal", "allclose", "is_nonzero"}
_WAITING |= {"__contains__", "__repr__", "bincount", "repeat_interleave"}
_FREE = {"to", "copy_", "__get__", "__set__", "is_inference", "record_stream", "size", "dim", "shape", "numel", "type"}


def mark(tensor):
    """Say that a tensor is on the device."""
    tensor.on_device = True
    return tensor


def marked(value):
    return getattr(value, "on_device", False) is True


def tensors_of(value):
    """All tensors in nested arguments."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for part in value for tensor in tensors_of(part)] if isinstance(value, list | tuple) else []


def mark_module(network):
    """Put a network on the device."""
    for tensor in (*network.parameters(), *network.buffers()):
        mark(tensor)
    return network


class SimulatedDevice(TorchFunctionMode):
    """Inside the block, ``cuda:0`` is there.

    Attributes:
        waits: source line of the package (or of the caller) to how often it waited for the device.
    """

    def __init__(self):
        super().__init__()
        self.waits = Counter()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        tensors = tensors_of((args, kwargs))
        here = any(marked(tensor) for tensor in tensors)
        getter = getattr(getattr(func, "__self__", None), "__name__", "")
        if name == "__get__" and here:
            if getter == "device":
                return DEVICE
            if getter in ("is_cuda", "is_cpu"):
                return getter == "is_cuda"
        leaves, target = self._target(func, name, args, kwargs)
        if target is not None:
            args, kwargs = leaves
        if here and self._waits(name, args, target):
            self.waits[_line()] += 1
        if here and name not in _FREE:
            alien = [tensor for tensor in tensors if not marked(tensor) and tensor.dim() > 0]
            indices = name in ("__getitem__", "__setitem__")  # an index may be on the CPU, and is copied
            if alien and not indices:
                raise RuntimeError(f"{name} mixes devices: {[tuple(tensor.shape) for tensor in alien]} on the CPU")
        result = func(*args, **kwargs)
        on_device = target == "cuda" if target is not None else here
        if name in ("to", "cuda") and any(result is tensor and marked(tensor) != on_device for tensor in tensors):
            result = result.view(result.shape)  # what came over is another tensor
        if name not in ("cpu", "numpy", "tolist", "item") and on_device:
            for tensor in tensors_of(result if isinstance(result, list | tuple | dict) else [result]):
                mark(tensor)
        elif isinstance(result, torch.Tensor) and marked(result):
            result = result.view(result.shape)  # what came over is another tensor
        return result

    @staticmethod
    def _target(func, name, args, kwargs):
        """Return arguments for the CPU, and where the result is asked for; None: where the tensors are."""

        def device_of(value):
            if isinstance(value, torch.device | str) and str(value).partition(":")[0] in ("cuda", "cpu"):
                return str(value).partition(":")[0]
            return None

        device = device_of(kwargs.get("device"))
        if device is not None:
            return (args, kwargs | {"device": "cpu"}), device
        if name == "cuda":
            return (args[:1], {}), "cuda"
        if name == "to":
            tensors = [value for value in args[1:] if isinstance(value, torch.Tensor)]
            if tensors:
                return (args, kwargs), "cuda" if marked(tensors[0]) else "cpu"
            device = next((device_of(value) for value in args[1:] if device_of(value)), None)
            if device is not None:
                return (tuple("cpu" if device_of(value) else value for value in args), kwargs), device
        return (args, kwargs), None

    @staticmethod
    def _waits(name, args, target):
        if name == "__getitem__" or name == "__setitem__":
            masks = [part for part in tensors_of([args[1]]) if part.dtype in (torch.bool, torch.uint8)]
            return bool(masks) and not (name == "__setitem__" and not isinstance(args[2], torch.Tensor))
        if name == "where" and len(args) == 1:
            return True
        return name in _WAITING or (name == "to" and target == "cpu")


def _line():
    """The innermost line of the package that is running, else of the caller."""
    frame = sys._getframe(2)
    while frame is not None and not frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "elsewhere"
    return f"{Path(frame.f_code.co_filename).relative_to(_PACKAGE)}:{frame.f_lineno}"
