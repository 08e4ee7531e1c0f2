"""States that merge: sums and counts that an analysis declares instead of writing how they add up."""

from copy import deepcopy
from typing import Any, ClassVar

from torch import Tensor


class Summed:
    """An analysis whose state is what ``summed`` names: tensors and numbers, or dictionaries of these, that add up.

    Dictionaries unite; what both have is added, and sets unite. A key of one part alone is taken as it is, so that
    entries by image number, which no two processes share, merge too.

    Example:
        >>> class Count(Summed):
        ...     summed = ("hits",)
        ...     def __init__(self, hits: dict[str, int]) -> None:
        ...         self.hits = hits
        >>> whole = Count({"real": 2})
        >>> whole.merge(Count({"real": 3, "fgsm": 1}).state_dict())
        >>> whole.hits
        {'real': 5, 'fgsm': 1}
    """

    summed: ClassVar[tuple[str, ...]] = ()

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's :meth:`state_dict` to this one."""
        for name in self.summed:
            setattr(self, name, _added(getattr(self, name), state[name]))

    def state_dict(self) -> dict[str, Any]:
        """Return the sums and counts so far, as plain types and tensors."""
        return {name: deepcopy(getattr(self, name)) for name in self.summed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the sums and counts."""
        for name in self.summed:
            setattr(self, name, deepcopy(state[name]))


def _added(one: Any, other: Any) -> Any:
    if isinstance(one, dict):
        both = {key: _added(value, other[key]) if key in other else value for key, value in one.items()}
        return both | {key: value for key, value in other.items() if key not in one}
    if isinstance(one, set):
        return one | other
    if isinstance(one, Tensor | int | float):
        return one + other
    raise TypeError(f"a state must be made of tensors, numbers, sets and dictionaries, got {type(one).__name__}.")
