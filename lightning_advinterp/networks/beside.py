"""What a weights file says beside the network: a normaliser, a temperature, the input's side, the classes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.core.reading import read_json
from lightning_advinterp.networks.normalizers import Normalizer, find_normalizer, suspects

_TEMPERATURES = ("temperature", "temp", "tau", "t")
_SCALES = ("logit_scale", "logits_scale", "scale", "s", "inverse_temperature", "beta")
_PARTS_OF_SCALES = ("temperature", "logit_scale", "logits_scale")
"""What other names of such numbers hold: ``log_temperature``, ``softmax_temperature``, ``inv_temperature``."""
_SIZES = ("pretrained_cfg.input_size", "default_cfg.input_size", "advinterp.network.input_size")
_HUB_FILES = ("model", "pytorch_model")
"""Names of weights that timm, Hugging Face and ``export`` put beside their ``config.json``."""
_OF_TRAINING = ("optimizer", "optimizer_state_dict", "optimizer_states", "lr_schedulers", "scheduler", "loops")
_SHORT, _DEEPEST = 64, 5


@dataclass(frozen=True)
class Beside:
    """What a file says beside the tensors of a network.

    Attributes:
        normalizer: how images are normalised for it; None where the file does not say.
        unread: names of tensors that may be a normaliser, and cannot be read as one.
        temperature: what its logits are divided by; None where the file does not say.
        scales: names of tensors, or numbers, that may scale the logits, in one way or another.
        used: names of the tensors that the four above come from.
        left_out: names of further tensors, and of lists of tensors.
        classes: of its outputs; empty where the file does not say.
        class_names: the same for people.
        resize: shorter side of an image before its crop.
        softplus: β of the softplus that the network was trained with in the place of ReLU, as this project records it.
    """

    normalizer: Normalizer | None = None
    unread: tuple[str, ...] = ()
    temperature: float | None = None
    scales: tuple[str, ...] = ()
    used: frozenset[str] = frozenset()
    left_out: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    resize: int | None = None
    softplus: float | None = None


def read_beside(
    path: Path,
    content: Mapping[Any, Any],
    near: Mapping[str, Tensor],
    near_others: Mapping[str, Tensor],
    of_sets: Sequence[str],
) -> Beside:
    """Return what a file, and a ``config.json`` of its folder, say beside a set of tensors.

    What stands nearer counts: the set's dictionary, then those of the other sets (an average is often kept without the
    buffers of the network that it averages), then the rest of the file.

    Args:
        path: of the file.
        content: of the file.
        near: tensors of the set's dictionary that are no network's.
        near_others: those of the other sets' dictionaries.
        of_sets: the dictionaries of the file's sets, in which other tensors say nothing.

    Raises:
        ValueError: if the file names several normalisers that differ, or one that is none.
    """
    config = _config(path)
    entries = dict(_leaves(content, of_sets)) | dict(_leaves(config, path="config.json"))
    small, small_others = _small(near), _small(near_others)
    normalizer = next(filter(None, (find_normalizer(tier, str(path)) for tier in (small, small_others, entries))), None)
    names = normalizer.names if normalizer is not None else ()
    unread = tuple(suspects({**small, **small_others})) if normalizer is None else ()
    if normalizer is None and {"mean", "std"} <= entries.keys():  # numbers of images, or of results?
        unread += ("mean", "std")
    top = {name: value for name, value in entries.items() if "." not in name}
    warm = next(filter(None, (_numbers(tier, _TEMPERATURES, names) for tier in (small, small_others, top))), {})
    near_numbers = {**small, **small_others}
    scales = tuple(_numbers(near_numbers, _SCALES, names) | _scalings({**top, **near_numbers}, names))
    if len(set(warm.values())) > 1:  # the user says which
        scales += tuple(warm)
    used = frozenset((*names, *unread, *warm, *scales))
    record = _mapping(content.get("advinterp")) or _mapping(config.get("advinterp"))
    classes, readable = _classes(record or content)
    resize, softplus = record.get("resize"), _mapping(record.get("network")).get("softplus")
    return Beside(
        normalizer=normalizer,
        unread=unread,
        temperature=next(iter(warm.values()), None),
        scales=scales,
        used=used,
        left_out=(*(name for name in near if name not in used), *_lists(content)),
        classes=classes,
        class_names=readable,
        resize=resize if isinstance(resize, int) else None,
        softplus=softplus if isinstance(softplus, int | float) else None,
    )


def stated_size(path: Path, content: Mapping[Any, Any]) -> int | None:
    """Return the side of the images that a file, or the ``config.json`` of its folder, says the network is for."""
    entries = [*_leaves(content), *_leaves(_config(path), path="config.json")]
    sizes = {_side(value) for name, value in entries if name.endswith(_SIZES)} - {None}
    return sizes.pop() if len(sizes) == 1 else None


def _leaves(
    content: Mapping[Any, Any], of_sets: Sequence[str] = (), path: str = "", depth: int = 0
) -> Iterator[tuple[str, Any]]:
    """Yield numbers, short lists of numbers and small tensors by their dotted names, but nothing of an optimizer."""
    for key, entry in content.items():
        value = entry.tolist() if hasattr(entry, "tolist") and not isinstance(entry, Tensor) else entry  # of numpy
        name = f"{path}/{key}" if path else str(key)
        if isinstance(value, Mapping) and depth < _DEEPEST and key not in _OF_TRAINING:
            yield from _leaves(value, of_sets, name, depth + 1)
        elif isinstance(value, Tensor):
            if value.numel() <= _SHORT and path not in of_sets and _is_readable(value):
                yield name.replace("/", "."), value
        elif _is_number(value) or (
            isinstance(value, list | tuple) and 0 < len(value) <= _SHORT and all(map(_is_number, value))
        ):
            yield name.replace("/", "."), value


def _small(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if value.numel() <= _SHORT and _is_readable(value)}


def _numbers(entries: Mapping[str, Any], words: Sequence[str], but: Sequence[str]) -> dict[str, float]:
    """Return the single numbers whose names end in one of the words."""
    numbers = {name: value for name, value in entries.items() if name not in but and _is_number(value)}
    return {name: float(value) for name, value in numbers.items() if _last(name) in words}


def _scalings(entries: Mapping[str, Any], but: Sequence[str]) -> dict[str, float]:
    """Return the single numbers whose names hold a word for a scale, but none that says what to do with it."""
    names = {_last(name) for name in entries if any(part in _last(name) for part in _PARTS_OF_SCALES)}
    return _numbers(entries, sorted(names.difference(_TEMPERATURES)), but)


def _lists(content: Mapping[Any, Any], path: str = "", depth: int = 0) -> Iterator[str]:
    """Yield where tensors lie as lists without names, as moving averages (``ema.shadow_params``) may."""
    for key, value in content.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and depth < _DEEPEST and key not in _OF_TRAINING:
            yield from _lists(value, name, depth + 1)
        elif isinstance(value, list | tuple) and any(isinstance(entry, Tensor) for entry in value):
            yield name


def _is_readable(tensor: Tensor) -> bool:
    return tensor.device.type != "meta" and tensor.layout is torch.strided and not tensor.is_quantized


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1
    return isinstance(value, int | float) and not isinstance(value, bool)


def _side(value: Any) -> int | None:
    last = value[-1] if isinstance(value, list | tuple) else value
    return int(last) if _is_number(last) and last > 0 else None


def _last(name: str) -> str:
    return name.rpartition(".")[2].lower()


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _classes(content: Mapping[Any, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the classes that a checkpoint, an export or another file names, and their readable names."""
    classes, order = content.get("classes"), content.get("class_to_idx")
    if isinstance(classes, list) and classes and all(isinstance(entry, Mapping) for entry in classes):
        return tuple(str(entry.get("folder")) for entry in classes), tuple(str(entry.get("name")) for entry in classes)
    if classes is None and isinstance(order, Mapping) and set(order.values()) == set(range(len(order))):
        classes = sorted(order, key=lambda name: order[name])
    if not isinstance(classes, list | tuple) or not all(isinstance(name, str) for name in classes):
        return (), ()
    names = content.get("class_names")
    readable = names if isinstance(names, list) and len(names) == len(classes) else classes
    return tuple(classes), tuple(map(str, readable))


def _config(path: Path) -> Mapping[str, Any]:
    """Return the description beside the weights of a hub's folder, or of an export; empty where there is none."""
    config: dict[str, Any] = {}
    for name in ("config.json", "preprocessor_config.json") if path.stem in _HUB_FILES else ():
        try:
            config |= _mapping(read_json(path.parent / name))
        except (OSError, ValueError):  # no such file, or none of this kind
            continue
    return config
