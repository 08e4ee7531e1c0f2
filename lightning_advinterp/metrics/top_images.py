"""For every unit the images that drive it most, streamed: the same whatever the batches and processes."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

Locate = Callable[[Tensor, Tensor], Tensor]
"""From images' places in the batch and units, int64 ``[n]`` each, to rows and columns, ``[n, 2]``."""

_IDS = (1 << 32) - 1
_EMPTY = torch.iinfo(torch.int64).min


def kept_count(share: float, images: int) -> int:
    """Return how many images a share of them is: rounded up, at least one (500 of 50,000 at 1 %)."""
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1] (0.01 is the top 1 %), got {share}.")
    return max(1, math.ceil(share * images - 1e-9))  # 0.07 × 100 is a little more than 7


def to_keys(values: Tensor, index: Tensor) -> Tensor:
    """Pack values and image numbers into int64 keys that order as wanted: by falling value, then rising number.

    Args:
        values: ``[B, U]``, taken as float32; NaN counts as −∞.
        index: int64 ``[B]`` in [0, 2³² − 1).

    Returns:
        int64 ``[B, U]``, all different where the images are.
    """
    if len(index) and not 0 <= int(index.min()) <= int(index.max()) < _IDS:
        raise ValueError(f"index must lie in [0, 2^32 - 1), got {int(index.min())} to {int(index.max())}.")
    # Adding 0 makes a positive zero of a negative one: they are equal, their bits are not.
    bits = values.float().nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf).add(0.0).view(torch.int32)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # negative floats order backwards as integers
    return (ordered.long() << 32) + (_IDS - index)[:, None]


def from_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values (float32) and image numbers (int64) of keys; −∞ and −1 for empty places."""
    ordered = (keys >> 32).int()
    values = (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(torch.float32)
    empty = keys == _EMPTY
    return values.masked_fill(empty, -torch.inf), (_IDS - (keys & _IDS)).masked_fill(empty, -1)


class Ranking(NamedTuple):
    """The top images of U units, the strongest first.

    Attributes:
        values: float32 ``[U, k]``; −∞ where there are fewer images.
        index: int64 ``[U, k]``, the images' numbers; −1 likewise.
        notes: int64 ``[U, k, P]``, what was noted of each image.
    """

    values: Tensor
    index: Tensor  # type: ignore[assignment]  # a tuple has a method of that name
    notes: Tensor


class TopImages:
    """The strongest images of every unit, with notes on them, and where in them the first few are strongest.

    Memory is units × kept images (8 + 4 P bytes each), whatever the number of images seen. Equal activations are
    ordered by image number, so neither batches nor processes change the result.

    Args:
        keep: images per unit; None keeps all, for when their number is unknown beforehand.
        show: of so many the position of the strongest activation is kept too.

    Attributes:
        seen: number of images seen.
    """

    def __init__(self, keep: int | None, show: int = 0) -> None:
        if keep is not None and keep < 1:
            raise ValueError(f"keep must be 1 or more images per unit, got {keep}.")
        self.keep, self.show = keep, show if keep is None else min(show, keep)
        self.seen = 0
        self._keys: Tensor | None = None
        self._notes = self._places = torch.empty(0)

    def update(self, values: Tensor, index: Tensor, notes: Tensor, locate: Locate | None = None) -> None:
        """Take in one batch.

        Args:
            values: ``[B, U]``, each image's activation of each unit.
            index: int64 ``[B]``, the images' numbers.
            notes: integers ``[B, P]``, kept with each image (as int32).
            locate: finds the position of the strongest activation; needed where ``show`` is above 0.
        """
        if self.show and locate is None:
            raise ValueError(f"locate is needed to keep the positions of the first {self.show} images.")
        keys = to_keys(values, index).T.contiguous()
        many = notes.to(torch.int32)[None].expand(len(keys), -1, -1)
        self.seen += len(index)
        self._insert(keys, many, locate)

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's :meth:`state_dict`."""
        self.seen += state["seen"]
        if state["keys"] is None:
            return
        places = state["places"]

        def locate(image: Tensor, unit: Tensor) -> Tensor:
            found: Tensor = places[unit, image]
            return found

        self._insert(state["keys"], state["notes"], locate)

    def ranking(self, count: int) -> Ranking:
        """Return the first ``count`` images of every unit, on the CPU.

        Raises:
            ValueError: if fewer are kept.
        """
        if self._keys is None:
            raise ValueError("no images were seen yet.")
        if self.keep is not None and count > self.keep:
            raise ValueError(f"count must be at most the {self.keep} images kept per unit, got {count}.")
        values, index = from_keys(self._keys[:, :count].cpu())
        return Ranking(values, index, self._notes[:, :count].cpu().long())

    def places(self) -> Tensor:
        """Return row and column of the strongest activation of the first ``show`` images, int64 ``[U, show, 2]``."""
        return self._places.cpu().long()

    def state_dict(self) -> dict[str, Any]:
        """Return what was kept."""
        kept = self._keys is not None
        return {
            "seen": self.seen,
            "keys": self._keys.cpu() if self._keys is not None else None,
            "notes": self._notes.cpu() if kept else None,
            "places": self._places.cpu() if kept else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace what was kept."""
        self.seen, self._keys = state["seen"], state["keys"]
        if self._keys is not None:
            self._notes, self._places = state["notes"], state["places"]

    def _insert(self, keys: Tensor, notes: Tensor, locate: Locate | None) -> None:
        """Keep the best of what there is and of ``[U, B]`` new keys, with notes ``[U, B, P]``."""
        units, device = len(keys), keys.device
        if self._keys is None:
            self._keys = keys.new_empty(units, 0)
            self._notes = notes.new_empty(units, 0, notes.shape[2])
            self._places = torch.empty(units, 0, 2, dtype=torch.int32, device=device)
        old = self._keys.to(device)
        together = torch.cat([old, keys], dim=1)
        count = together.shape[1] if self.keep is None else min(self.keep, together.shape[1])
        self._keys, order = together.topk(count, dim=1)
        chosen = order[..., None].expand(-1, -1, notes.shape[2])
        self._notes = torch.cat([self._notes.to(device), notes], dim=1).gather(1, chosen)
        if self.show and locate is not None:
            self._places = self._merged_places(order[:, : self.show], old.shape[1], locate)

    def _merged_places(self, order: Tensor, old: int, locate: Locate) -> Tensor:
        """Positions of the images in ``order``: known where they are old, found where they are new.

        An image can only fall in rank, so what is among the first now was among them when it came.
        """
        shown = self._places.to(order.device)
        places = shown.new_zeros(*order.shape, 2)
        is_new = order >= old
        unit, rank = is_new.nonzero(as_tuple=True)
        places[unit, rank] = locate(order[unit, rank] - old, unit).to(shown)
        unit, rank = (~is_new).nonzero(as_tuple=True)
        places[unit, rank] = shown[unit, order[unit, rank]]
        return places
