"""For every unit the images that drive it most, streamed: the same whatever the batches and processes."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

Locate = Callable[[Tensor, Tensor], Tensor]
"""From images' places in the batch and units, int64 ``[n]`` each, to rows and columns, ``[n, 2]``."""

_VALUE = 32
_IDS = (1 << _VALUE) - 1
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
    return (ordered.long() << _VALUE) + (_IDS - index)[:, None]


def from_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values (float32) and image numbers (int64) of keys; −∞ and −1 for empty places."""
    ordered = (keys >> _VALUE).int()
    values = (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(torch.float32)
    empty = keys == _EMPTY
    return values.masked_fill(empty, -torch.inf), (_IDS - (keys & _IDS)).masked_fill(empty, -1)


class Ranking(NamedTuple):
    """The top images of U units, the strongest first.

    Attributes:
        values: float32 ``[U, k]``; −∞ where there are fewer images.
        index: int64 ``[U, k]``, the images' numbers; −1 likewise.
        notes: int64 ``[U, k, P]``, what was noted of each image.
        constant: bool ``[U]``, whether all images seen, of two or more, have the same value: the order of such a unit
            is that of their numbers, and would be the same whatever became of the images.
    """

    values: Tensor
    index: Tensor  # type: ignore[assignment]  # a tuple has a method of that name
    notes: Tensor
    constant: Tensor


class TopImages:
    """The strongest images of every unit, with notes on them, and where in them the first few are strongest.

    Memory is units × kept images (8 + 4 P bytes each), whatever the number of images seen. Equal activations are
    ordered by image number, so neither batches nor processes change the result; an image is to be shown only once.

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
        self._keys = self._notes = self._first = self._places = self._lowest = torch.empty(0)
        self._waiting: list[tuple[Tensor, Tensor]] = []

    def update(self, values: Tensor, index: Tensor, notes: Tensor, locate: Locate | None = None) -> None:
        """Take in one batch.

        Args:
            values: ``[B, U]``, each image's activation of each unit.
            index: int64 ``[B]``, the images' numbers.
            notes: integers ``[B, P]``, kept with each image (as int32).
            locate: finds the position of the strongest activation; needed where ``show`` is above 0.
        """
        keys = to_keys(values, index).T.contiguous()
        if self.show:
            if locate is None:
                raise ValueError(f"locate is needed to keep the positions of the first {self.show} images.")
            self._place(keys, locate)
        self._lower((keys >> _VALUE).amin(1))
        self.seen += len(index)
        self._waiting.append((keys, notes.to(torch.int32)[None].expand(len(keys), -1, -1)))
        # Ranking costs the length of the list, however few images come: let half a list gather before.
        if self.keep is not None and sum(keys.shape[1] for keys, _ in self._waiting) >= max(64, self.keep // 2):
            self._rank()

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's :meth:`state_dict`."""
        if not state["seen"]:
            return
        self.seen += state["seen"]
        self._waiting.append((state["keys"], state["notes"]))
        self._rank()
        self._lower(state["lowest"])
        if self.show:

            def locate(image: Tensor, unit: Tensor) -> Tensor:
                found: Tensor = state["places"][unit, image]
                return found

            self._place(state["first"], locate)

    def ranking(self, count: int) -> Ranking:
        """Return the first ``count`` images of every unit (all, if there are fewer), on the CPU.

        Raises:
            ValueError: if fewer are kept.
        """
        if not self.seen:
            raise ValueError("no images were seen yet.")
        if self.keep is not None and count > self.keep:
            raise ValueError(f"count must be at most the {self.keep} images kept per unit, got {count}.")
        self._rank()
        values, index = from_keys(self._keys[:, :count].cpu())
        constant = (self._keys[:, 0] >> _VALUE == self._lowest.to(self._keys.device)).cpu() & (self.seen > 1)
        return Ranking(values, index, self._notes[:, :count].cpu().long(), constant)

    def places(self) -> Tensor:
        """Return row and column of the strongest activation of the first ``show`` images, int64 ``[U, show, 2]``."""
        return self._places.cpu().long()

    def state_dict(self) -> dict[str, Any]:
        """Return what was kept."""
        self._rank()
        kept = {"keys": self._keys, "notes": self._notes, "first": self._first, "places": self._places}
        kept["lowest"] = self._lowest
        return {"seen": self.seen} | {name: tensor.cpu() for name, tensor in kept.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace what was kept."""
        self.seen, self._waiting = state["seen"], []
        self._keys, self._notes = state["keys"], state["notes"]
        self._first, self._places, self._lowest = state["first"], state["places"], state["lowest"]

    def _lower(self, lowest: Tensor) -> None:
        """Take in the lowest values, as the upper part of keys, of further images."""
        known = self._lowest.numel() > 0
        self._lowest = torch.minimum(self._lowest.to(lowest.device), lowest) if known else lowest

    def _rank(self) -> None:
        """Keep the best of the list and of what has gathered beside it."""
        if not self._waiting:
            return
        device = self._waiting[-1][0].device
        parts = ([(self._keys, self._notes)] if self._keys.numel() else []) + self._waiting
        keys = torch.cat([part.to(device) for part, _ in parts], dim=1)
        notes = torch.cat([part.to(device) for _, part in parts], dim=1)
        self._keys, order = keys.topk(keys.shape[1] if self.keep is None else min(self.keep, keys.shape[1]), dim=1)
        self._notes = notes.gather(1, order[..., None].expand(-1, -1, notes.shape[2]))
        self._waiting = []

    def _place(self, keys: Tensor, locate: Locate) -> None:
        """Keep the positions of the first images: known where they are old, found where they are new.

        Args:
            keys: int64 ``[U, B]``, of new images; their maps are gone after this batch.
            locate: finds their positions.
        """
        device, old = keys.device, self._first.shape[1] if self._first.dim() == 2 else 0
        together = torch.cat([self._first.to(device), keys], dim=1) if old else keys
        self._first, order = together.topk(min(self.show, together.shape[1]), dim=1)
        places = torch.zeros(*order.shape, 2, dtype=torch.int32, device=device)
        unit, rank = (order >= old).nonzero(as_tuple=True)
        places[unit, rank] = locate(order[unit, rank] - old, unit).to(places)
        unit, rank = (order < old).nonzero(as_tuple=True)
        if old:
            places[unit, rank] = self._places.to(device)[unit, order[unit, rank]]
        self._places = places
