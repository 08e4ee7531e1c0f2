"""The sets of tensors in a file that fill a network: found by its own keys, whatever wraps them, and one chosen.

A file may hold several: raw weights beside a moving average, an attacked copy beside the network, a student and its
teacher. A set is named by where it lies: the dictionaries that hold it, then what stands before its keys.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.core.tensor_files import tensor_digest

CONTAINERS = ("state_dict", "model_state_dict", "model_state", "model", "net")
"""Where files keep their weights, the usual places first."""

_AVERAGED = re.compile(r"(?<![a-z])(ema|swa|avg|averag\w*|shadow|polyak|teacher|momentum|target)(?![a-z])")
_OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12])\.(\w+)$")
_DEEPEST = 5


@dataclass(frozen=True)
class WeightSet:
    """Tensors of a file that lie together and carry the network's keys.

    Attributes:
        name: where they lie, such as ``state_dict_ema`` or ``state_dict:module.``; empty for the file itself.
        container: the part of the name that names dictionaries.
        prefix: what stands before the network's keys.
        tensors: by the network's keys; others that lie under the same prefix are among them.
        beside: further tensors of the same dictionary.
        keys: those of the network that are there, as the dictionary names them.
        missing: how many of the network's keys are not there.
    """

    name: str
    container: str
    prefix: str
    tensors: dict[str, Tensor]
    beside: dict[str, Tensor]
    keys: frozenset[str]
    missing: int

    @property
    def averaged(self) -> bool:
        """Whether its name says that it is an average of other weights."""
        return _AVERAGED.search(self.name.lower().replace("_", " ")) is not None

    @property
    def rank(self) -> tuple[bool, int]:
        """The lower, the rather it is meant: raw weights before averages, usual places before others."""
        return self.averaged, place_of(self.container)


def place_of(container: str) -> int:
    """Return how unusual it is to find weights in a dictionary of this name; 0 for the file itself."""
    place = container.rpartition("/")[2]
    return 1 + CONTAINERS.index(place) if place in CONTAINERS else (1 + len(CONTAINERS)) * bool(place)


def find_sets(content: Mapping[Any, Any], expected: Collection[str]) -> list[WeightSet]:
    """Return the sets that lack the fewest of the network's keys, in the order of their ranks.

    Args:
        content: of a file.
        expected: the network's keys. BatchNorm's counters, which old files lack, need not be there.
    """
    sets: list[WeightSet] = []
    for container, tensors in dictionaries(content):
        sets += _sets_in(container, tensors, set(expected))
    fewest = min((candidate.missing for candidate in sets), default=0)
    return sorted(
        (candidate for candidate in sets if candidate.missing == fewest), key=lambda candidate: candidate.rank
    )


def choose_set(sets: list[WeightSet], source: str, set_name: str | None = None) -> WeightSet:
    """Return the set that is meant: the one of the name that is asked for, else the first.

    Args:
        sets: of one file, in order.
        source: what an error calls the file.
        set_name: a set's name, or a part of one name alone.

    Raises:
        ValueError: if none or several are called so, or if nothing says which of several is meant.
    """
    names = ", ".join(repr(candidate.name) for candidate in sets)
    if set_name is not None:
        called = [candidate for candidate in sets if candidate.name == set_name] or [
            candidate for candidate in sets if set_name in candidate.name
        ]
        if len(called) != 1:
            raise ValueError(f"weights_set must name one of the sets in {source}, {names}, got {set_name!r}.")
        return called[0]
    first = sets[0]
    rivals = [
        candidate
        for candidate in sets
        if candidate.missing == 0 and candidate.rank == first.rank and not _equal(candidate, first)
    ]
    if rivals:
        raise ValueError(
            f"weights: {source} holds several sets that fit, {names}, and none is called an average of another; say "
            f"which one is meant, weights_set: {first.name!r} for instance."
        )
    return first


def _equal(first: WeightSet, second: WeightSet) -> bool:
    # By their bytes: NaN is not equal to itself, and some kinds of tensors cannot be compared.
    return first is second or tensor_digest(first.tensors) == tensor_digest(second.tensors)


def dictionaries(content: Mapping[Any, Any], path: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield every dictionary that has tensors, with the names of those around it."""
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        yield path, tensors
    for key, value in content.items():
        if isinstance(value, Mapping) and depth < _DEEPEST:
            yield from dictionaries(value, f"{path}/{key}" if path else str(key), depth + 1)


def _sets_in(container: str, tensors: Mapping[str, Tensor], expected: set[str]) -> list[WeightSet]:
    """Return the sets of one dictionary: whole ones under every prefix, else the one that lacks least."""
    required = {key for key in expected if not key.endswith("num_batches_tracked")}
    parts = {part for key in expected for part in key.split(".")}
    today: Mapping[str, Tensor] = {todays_densenet(key): value for key, value in tensors.items()}
    inner = {_without_inner_wrappers(key, parts): value for key, value in tensors.items()}
    best: tuple[int, Mapping[str, Tensor], list[str]] = (len(required), today, [])
    for keys in (today, inner):
        if len(keys) < len(tensors):  # two of them would get one name
            continue
        counts = Counter(prefix for key in keys for prefix in _prefixes(key, required))
        most = max(counts.values(), default=0)
        if len(required) - most < best[0]:
            prefixes = [prefix for prefix, count in counts.items() if count == most]
            best = len(required) - most, keys, prefixes if most == len(required) else prefixes[:1]
    missing, keys, prefixes = best
    return [_set_under(prefix, prefixes, container, keys, missing, expected) for prefix in prefixes or [""]]


def _set_under(
    prefix: str, prefixes: list[str], container: str, keys: Mapping[str, Tensor], missing: int, expected: set[str]
) -> WeightSet:
    longer = tuple(
        longer_prefix for longer_prefix in prefixes if longer_prefix.startswith(prefix) and longer_prefix != prefix
    )
    tensors_below = {key: value for key, value in keys.items() if key.startswith(prefix) and not key.startswith(longer)}
    return WeightSet(
        ":".join(part for part in (container, prefix) if part),
        container,
        prefix,
        {key.removeprefix(prefix): full_precision(value) for key, value in tensors_below.items()},
        {key: value for key, value in keys.items() if key not in tensors_below},
        frozenset(prefix + key for key in expected if prefix + key in keys),
        missing,
    )


def _prefixes(key: str, required: Collection[str]) -> Iterator[str]:
    """Yield what stands before each of the network's keys that ``key`` ends in."""
    start = 0
    while start >= 0:
        if key[start:] in required:
            yield key[:start]
        dot = key.find(".", start)
        start = dot + 1 if dot >= 0 else -1


def _without_inner_wrappers(key: str, names: Collection[str]) -> str:
    """Take out names that the network does not have, but for those in front (DataParallel around a part of it)."""
    parts = todays_densenet(key).split(".")
    if "parametrizations" in parts:  # a weight before its parametrisation is not the weight
        return key
    front = next((place for place, part in enumerate(parts) if part in names), len(parts))
    return ".".join([*parts[:front], *(part for part in parts[front:] if part in names)])


def todays_densenet(key: str) -> str:
    """Return a key with DenseNet's old style (``norm.1``) made today's (``norm1``)."""
    old = _OLD_DENSENET.match(key)
    return f"{old[1]}{old[2]}.{old[3]}" if old else key


def full_precision(tensor: Tensor) -> Tensor:
    """Return float32 for half precision, and anything else as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
