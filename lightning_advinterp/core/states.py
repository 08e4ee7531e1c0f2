"""States that merge: what an analysis gathers is declared, not written out as three methods."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Part(Protocol):
    """A state that merges in a way of its own, such as a bounded list of the largest values."""

    def merge(self, state: Any) -> None:
        """Add another process's :meth:`state_dict` to this one."""

    def state_dict(self) -> Any:
        """Return plain data and tensors."""

    def load_state_dict(self, state: Any) -> None:
        """Replace the state."""


class Summed:
    """A state whose attributes say how they merge; what they name is kept over an interruption, too.

    - ``summed``: tensors and numbers, which add up. Sets unite, and a :class:`Part` merges by itself. In dictionaries
      what both processes have is added, a key of one alone is taken as it is; lists are of one length and add up place
      by place.
    - ``united``: dictionaries, nested or not, and sets. What both processes have under a key is one and the same thing
      and counts once: entries by image number, and what an earlier sweep has left in every process.
    - ``settled``: what all processes agree on. One that has nothing yet, since it saw no image, takes another's.
    - ``grown``: dictionaries of parts that come as images need them, and how many levels of keys these have;
      :meth:`part` makes an empty one.

    Example:
        >>> class Count(Summed):
        ...     summed = ("hits",)
        ...     united = ("predicted",)
        ...     def __init__(self, hits: dict[str, int], predicted: dict[int, int]) -> None:
        ...         self.hits, self.predicted = hits, predicted
        >>> whole = Count({"real": 2}, {0: 7})
        >>> whole.merge(Count({"real": 3, "fgsm": 1}, {4: 9}).state_dict())
        >>> whole.hits, whole.predicted
        ({'real': 5, 'fgsm': 1}, {0: 7, 4: 9})
    """

    summed: ClassVar[tuple[str, ...]] = ()
    united: ClassVar[tuple[str, ...]] = ()
    settled: ClassVar[tuple[str, ...]] = ()
    grown: ClassVar[Mapping[str, int]] = {}
    records: ClassVar[Mapping[str, type]] = {}
    """Names above to the dataclass of their entries (the values of a dictionary, the items of a list)."""

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's :meth:`state_dict` to this one."""
        for name in self.summed:
            setattr(self, name, _added(getattr(self, name), state[name]))
        for name in self.united:
            setattr(self, name, _united(getattr(self, name), _entries(self, name, state)))
        for name in self.settled:
            if not getattr(self, name):
                setattr(self, name, _entries(self, name, state))
        for name, levels in self.grown.items():
            for parts, key, leaf in _leaves(getattr(self, name), state[name], levels):
                if key not in parts:
                    parts[key] = self.part(name, leaf)
                parts[key].merge(leaf)

    def state_dict(self) -> dict[str, Any]:
        """Return what was gathered so far, as plain types and tensors of this process's own."""
        names = (*self.summed, *self.united, *self.settled, *self.grown)
        return {name: _plain(getattr(self, name)) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace what was gathered."""
        for name in (*self.summed, *self.united, *self.settled):
            setattr(self, name, _loaded(getattr(self, name), _entries(self, name, state)))
        for name, levels in self.grown.items():
            setattr(self, name, {})
            for parts, key, loaded in _leaves(getattr(self, name), state[name], levels):
                parts[key] = self.part(name, loaded)
                parts[key].load_state_dict(loaded)

    def part(self, name: str, state: Any) -> Part:
        """Return an empty part of what is ``grown`` under a name.

        Args:
            name: of the attribute.
            state: of the part that it is for.

        Raises:
            TypeError: if a class has ``grown`` entries without saying what they are.
        """
        raise TypeError(f"{type(self).__name__} must have a method part, which makes what {name} is grown of.")


def _entries(owner: Summed, name: str, state: Mapping[str, Any]) -> Any:
    """Return an entry of a state with its records."""
    kind, values = owner.records.get(name), state[name]
    if kind is None:
        return values
    if isinstance(values, dict):
        return {key: kind(*record) for key, record in values.items()}
    return [kind(*record) for record in values]


def _leaves(parts: dict[Any, Any], state: Mapping[Any, Any], levels: int) -> Iterator[tuple[dict[Any, Any], Any, Any]]:
    """Yield for every part of a state the dictionary that it belongs into, its key there, and its own state."""
    for key, value in state.items():
        if levels == 1:
            yield parts, key, value
        else:
            yield from _leaves(parts.setdefault(key, {}), value, levels - 1)


def _added(present: Any, state: Any) -> Any:
    if isinstance(present, dict):
        both = {key: _added(value, state[key]) if key in state else value for key, value in present.items()}
        return both | {key: value for key, value in state.items() if key not in present}
    if isinstance(present, list):
        return [_added(value, added) for value, added in zip(present, state, strict=True)]
    if isinstance(present, set):
        return present | state
    if isinstance(present, Tensor):
        return present + state.to(present.device)
    if isinstance(present, int | float):
        return present + state
    if isinstance(present, Part):
        present.merge(state)
        return present
    raise TypeError(f"a state must be made of tensors, numbers, sets and dictionaries, got {type(present).__name__}.")


def _united(present: Any, state: Any) -> Any:
    if isinstance(present, dict) and isinstance(state, dict):
        both = {key: _united(value, state[key]) if key in state else value for key, value in present.items()}
        return both | {key: value for key, value in state.items() if key not in present}
    return present | state if isinstance(present, set) else state


def _plain(value: Any) -> Any:
    """Return a copy made of plain types and tensors; a record is the tuple of its fields."""
    if value is None or isinstance(value, int | float | str):  # first: entries by image are many
        return value
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return tuple(_plain(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, Tensor):  # in main memory, wherever another process's device may be
        return value.detach().to("cpu", copy=True)
    return value.state_dict() if isinstance(value, Part) else deepcopy(value)


def _loaded(present: Any, state: Any) -> Any:
    """Return a copy of a state, in which parts that are there already take up theirs."""
    if isinstance(present, dict):
        return {key: _loaded(present.get(key), value) for key, value in state.items()}
    if isinstance(present, list) and len(present) == len(state):
        return [_loaded(value, item) for value, item in zip(present, state, strict=True)]
    if isinstance(present, Tensor) and isinstance(state, Tensor):
        return state.to(present.device, copy=True)
    if present is None or isinstance(present, int | float | str) or not isinstance(present, Part):
        return deepcopy(state)
    present.load_state_dict(state)
    return present
