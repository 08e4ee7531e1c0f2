"""Checkpoints of this project: a network rebuilt from one file, without running code from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lightning_advinterp.core.tensor_files import first_line, read_tensor_file
from lightning_advinterp.networks.factory import create_network
from lightning_advinterp.networks.from_module import as_network
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.origin import Origin
from lightning_advinterp.networks.softplus_layers import exchange_relu
from lightning_advinterp.networks.spec import checked_spec
from lightning_advinterp.networks.trial import RGB
from lightning_advinterp.networks.weights import load_into

CHECKPOINT_FORMAT = 1
"""Version of ``checkpoint["advinterp"]``."""


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A network and what was recorded beside it.

    Attributes:
        network: with the checkpoint's weights.
        classes: wnids or folder names, in the order of the outputs; empty where none were recorded.
        class_names: the same for people.
        seed: the training run's seed.
        epoch: finished epochs.
        resize: shorter side of a validation image before its crop; None where the data were not resized.
        averaged: whether the weights are a moving average of those that were trained.
    """

    network: Network
    classes: list[str]
    class_names: list[str]
    seed: int
    epoch: int
    resize: int | None = None
    averaged: bool = False


def load_checkpoint(path: str | Path, module: nn.Module | None = None) -> LoadedCheckpoint:
    """Rebuild the network that a training run of this project saved.

    Nothing in the file is executed. A class that it names is imported only if it has been already, or if the user
    vouches for it, see :mod:`lightning_advinterp.core.trust`.

    Args:
        path: the checkpoint.
        module: takes the weights, a copy of it; None: the network is built as the checkpoint says.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, not such a checkpoint, or one of a later format.
    """
    content = read_tensor_file(path, what="checkpoint")
    source = f"checkpoint: {path}"
    meta = content.get("advinterp") if isinstance(content, Mapping) else None
    if meta is None:
        raise ValueError(
            f"{source} was not written by a run of this project; for other files give --network NAME --weights FILE."
        )
    _check_entries(content, meta, source)
    spec = checked_spec(meta["network"], source, builds=module is None)
    try:
        network = create_network(**spec) if module is None else _around(module, spec)
    except Exception as error:  # a constructor may raise anything at settings that it was never meant for
        cause = None if isinstance(error, ValueError) else error  # whose traceback a class's author may need
        raise ValueError(f"{source} describes no network that can be built: {first_line(error)}.") from cause
    if len(meta["classes"]) not in (0, network.num_classes):
        raise ValueError(f"{source} names {len(meta['classes'])} classes for {network.num_classes} outputs.")
    prefix = "network.backbone."
    state = content["state_dict"]
    tensors = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    load_into(network.backbone, tensors, str(path))
    network.untrained = ""
    classes, names = list(meta["classes"]), list(meta.get("class_names", meta["classes"]))
    network.origin = Origin(
        str(path),
        normalization="recorded",
        classes=tuple(classes),
        class_names=tuple(names),
        resize=meta.get("resize"),
        softplus=network.softplus,
    )
    return LoadedCheckpoint(
        network,
        classes,
        names,
        meta["seed"],
        content.get("epoch", -1) + 1,
        meta.get("resize"),
        "averaging_state" in content,
    )


def _around(module: nn.Module, spec: Mapping[str, Any]) -> Network:
    """Return a network around a module, as the checkpoint's was built around one like it."""
    mean, std = spec["mean"], spec["std"]
    size: int = spec["input_size"]
    network = as_network(module, lambda: (max(len(mean), RGB), size, size), (tuple(mean), tuple(std)))
    if spec.get("softplus") is not None:
        exchange_relu(network, spec["softplus"])
    return network


def _check_entries(content: Mapping[str, Any], meta: Any, source: str) -> None:
    """Refuse entries that are missing or of another kind than a run writes.

    Raises:
        ValueError: naming the entry.
    """
    if not isinstance(meta, Mapping) or not _is_whole(meta.get("format", 0)):
        raise ValueError(f"{source} has an entry advinterp that no run of this project wrote.")
    if meta.get("format", 0) > CHECKPOINT_FORMAT:
        raise ValueError(f"{source} has format {meta['format']}, this version reads {CHECKPOINT_FORMAT}.")
    missing = [key for key in ("network", "classes", "seed") if key not in meta]
    if missing:
        raise ValueError(f"{source} lacks {', '.join(missing)} in its entry advinterp; is it cut short?")
    names, named = meta.get("class_names", meta["classes"]), _are_names(meta["classes"])
    fits = {
        "state_dict": _are_tensors(content.get("state_dict")),
        "epoch": _is_whole(content.get("epoch", -1)),
        "advinterp.classes": named,
        "advinterp.class_names": _are_names(names) and (not named or len(names) == len(meta["classes"])),
        "advinterp.seed": _is_whole(meta["seed"]),
        "advinterp.resize": meta.get("resize") is None or (_is_whole(meta["resize"]) and meta["resize"] > 0),
    }
    wrong = [entry for entry, right in fits.items() if not right]
    if wrong:
        raise ValueError(
            f"{source} is damaged, or was written by another program: its {', '.join(wrong)} is not what a run writes."
        )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


def _are_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(entry, Tensor) for key, entry in value.items()
    )
