"""Weights from files, as data: reading, naming and comparing tensors; no file's code is ever executed."""

import hashlib
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_advinterp.core.tensor_files import read_tensor_file
from lightning_advinterp.networks.taps import backbone_of
from lightning_advinterp.networks.tensor_checks import check_tensors
from lightning_advinterp.networks.weight_sets import (
    WeightSet,
    choose_set,
    dictionaries,
    find_sets,
    full_precision,
    place_of,
    todays_densenet,
)

logger = logging.getLogger(__name__)

SUFFIXES = (".pth", ".pt", ".th", ".tar", ".bin", ".ckpt", ".safetensors")
"""Endings by which a ``weights`` argument is taken for a file."""

_WRAPPERS = ("module", "_orig_mod")  # DataParallel and torch.compile, at any depth
# Where the network's own keys are not known; with them, prefixes are found.
_PREFIXES = ("network.backbone.", "model.backbone.", "backbone.", "network.", "model.", "net.", "encoder.")
_SHOWN = 5


def load_state_dict_file(path: str | Path, expected: Collection[str] | None = None) -> dict[str, Tensor]:
    """Read the tensors of a weights file, by their names in the bare network.

    Reads ``.safetensors``, and what ``torch.save`` writes (``.pth``, ``.pt``, ``.th``, ``.tar``, Lightning's
    ``.ckpt``) with ``weights_only=True``. Tensors nested under ``state_dict`` and the like are found; the
    prefixes of DataParallel, ``torch.compile``, this project's checkpoints and common wrappers are taken off;
    half precision becomes float32; DenseNet's old key style (``norm.1``) becomes today's (``norm1``).

    Args:
        path: the file.
        expected: the network's own keys. With them the prefix is the one under which all of them lie, whatever it
            is called, and tensors outside of it (a loss's, a metric's) are left out, which is logged; of several sets
            the raw one is taken before an average. Without them, common prefixes that all tensors share are taken off.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the file, if it is malformed, holds more than plain data, or holds no tensors.
    """
    path = Path(path)
    content = read_content(path)
    if expected is None:
        return rename(content, str(path))
    chosen = choose_set(find_sets(content, expected), str(path))
    return _without_others(chosen, str(path))


def read_content(path: Path) -> Mapping[Any, Any]:
    """Return what a weights file holds: a dictionary with tensors, or with dictionaries that have some.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the file, as :func:`load_state_dict_file`.
    """
    content = read_tensor_file(path, what="weights")
    if isinstance(content, Mapping) and any(True for _ in dictionaries(content)):
        return content
    shown = sorted(map(str, content))[:_SHOWN] if isinstance(content, Mapping) else type(content).__name__
    raise ValueError(f"weights: {path} holds no tensors by name; found {shown}.")


def rename(content: Mapping[str, Any], source: str, expected: Collection[str] | None = None) -> dict[str, Tensor]:
    """Name tensors as the bare network does, and make half precision float32.

    Args:
        content: what a file holds, or tensors by any of the names that :func:`load_state_dict_file` lists.
        source: what a log line calls them.
        expected: the network's own keys.
    """
    if expected is not None:
        return _without_others(choose_set(find_sets(content, expected), source), source)
    _, tensors = max(dictionaries(content), key=lambda entry: (len(entry[1]), -place_of(entry[0])))
    full = {_without_wrappers(todays_densenet(key)): full_precision(value) for key, value in tensors.items()}
    prefix = next((prefix for prefix in _PREFIXES if all(key.startswith(prefix) for key in full)), "")
    return {key.removeprefix(prefix): value for key, value in full.items()}


def _without_wrappers(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in _WRAPPERS)


def _without_others(chosen: WeightSet, source: str) -> dict[str, Tensor]:
    """Return a set's tensors, and say which lie beside them."""
    if chosen.beside:
        first = next(iter(chosen.beside))
        logger.info("%s: %d tensors outside %r left out, like %s.", source, len(chosen.beside), chosen.prefix, first)
    return dict(chosen.tensors)


def load_into(backbone: nn.Module, tensors: Mapping[str, Tensor], source: str, *, fresh: Collection[str] = ()) -> None:
    """Copy ``tensors`` into ``backbone``; all its keys must be there, and no others.

    Args:
        backbone: the network to fill.
        tensors: by the backbone's own keys.
        source: what an error calls the weights.
        fresh: keys that keep their initial values; the same keys of ``tensors`` are not used.

    Raises:
        ValueError: listing the first missing keys, unexpected keys and differing shapes.
    """
    state = backbone.state_dict()
    used = {key: value for key, value in tensors.items() if key not in fresh}
    missing = [key for key in state if key not in used and key not in fresh and not _is_counter(key)]
    unexpected = [key for key in used if key not in state]
    shapes = [
        f"{key} is {tuple(value.shape)}, the network has {tuple(state[key].shape)}"
        for key, value in used.items()
        if key in state and value.shape != state[key].shape
    ]
    if missing or unexpected or shapes:
        problems = "; ".join(
            part
            for part in (
                _some("missing", missing),
                _some("unexpected", unexpected),
                _some("shapes differ", shapes),
            )
            if part
        )
        raise ValueError(
            f"weights: {source} does not fit {type(backbone).__name__}: {problems}. "
            "Give the architecture (name, stem, options) for which the weights were made."
        )
    check_tensors({key: value for key, value in used.items() if key in state}, state, source)
    state.update(used)  # keeps the versions that the modules wrote beside their tensors (MNASNet needs its own)
    backbone.load_state_dict(state)


def _is_counter(key: str) -> bool:
    """BatchNorm's count of batches, which files from before PyTorch 0.4.1 lack."""
    return key.endswith("num_batches_tracked")


def _some(what: str, items: list[str]) -> str:
    more = f", … ({len(items)} in all)" if len(items) > _SHOWN else ""
    return f"{what}: {', '.join(items[:_SHOWN])}{more}" if items else ""


def weights_hash(network: nn.Module) -> str:
    """Return the SHA-256, in hexadecimal, of a network's weights and buffers.

    It covers sorted keys, types, shapes and bytes, not the device; a :class:`Network` and its bare backbone
    have the same. Softplus in the place of ReLU is no weight, and counts: the same weights are another network with it.
    """
    digest = hashlib.sha256()
    betas = {part.beta for part in backbone_of(network).modules() if isinstance(part, nn.Softplus)}
    if betas:
        digest.update(f"softplus {sorted(betas)}\n".encode())
    state = backbone_of(network).state_dict()
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
