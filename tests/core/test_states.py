"""States merge as they declare, in any division and in any order, and what is loaded is what was saved."""

import io
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch

from lightning_advinterp.core.states import Summed
from lightning_advinterp.core.tensor_files import save_plainly
from lightning_advinterp.units.top_images import TopImages


@dataclass(frozen=True)
class Note:
    """What is kept of an image."""

    pixels: torch.Tensor
    classes: tuple[int, ...]
    more: dict[str, float] = field(default_factory=dict)


class Gathered(Summed):
    """One attribute of every kind."""

    name = "gathered"
    summed = ("counts", "halves", "top", "seen")
    united = ("predicted", "rows", "notes", "skipped")
    settled = ("widths", "requests")
    grown: ClassVar = {"samples": 1, "ranked": 2}
    records: ClassVar = {"notes": Note, "requests": Note}

    def __init__(self):
        self.counts, self.halves = {"real": torch.zeros(3)}, [0, 0.0]
        self.top, self.seen = {"real": [TopImages(2), TopImages(2)]}, set()
        self.predicted, self.rows, self.notes, self.skipped = {}, {}, {}, set()
        self.widths, self.requests = [], []
        self.samples, self.ranked = {}, {}

    def part(self, name, state):
        """An empty list of top images."""
        return TopImages(2 if name == "samples" else 1)

    def look(self, number):
        """Take an image in."""
        self.counts["real"] = self.counts["real"] + number
        self.counts.setdefault("fgsm", 0)
        self.counts["fgsm"] += 1
        self.halves[number % 2] += number
        values = torch.tensor([[float(number), -float(number)]])
        self.top["real"][number % 2].update(values, torch.tensor([number]), torch.zeros(1, 0))
        self.seen.add(number % 3)
        self.predicted[number] = [number, 7]
        self.rows.setdefault(number, {})["topk"] = {"value": float("nan") if number == 1 else 0.5, "name": None}
        self.notes[number] = Note(torch.full((2,), number), (number, 1), {"iou": 0.25})
        self.skipped.add(f"{number}.jpg")
        self.widths, self.requests = [2, 4], [Note(torch.ones(1), (), {})]
        sample = self.samples.setdefault(number % 2, self.part("samples", None))
        sample.update(values, torch.tensor([number]), torch.zeros(1, 0))
        ranked = self.ranked.setdefault("real", {}).setdefault(f"layer{number % 3}", self.part("ranked", None))
        ranked.update(values, torch.tensor([number]), torch.zeros(1, 0))


def looked(numbers):
    gathered = Gathered()
    for number in numbers:
        gathered.look(number)
    return gathered


def plain(state):
    """A state as text that is equal for equal states, whatever the order of its keys."""
    if isinstance(state, dict):
        return {str(key): plain(state[key]) for key in sorted(state, key=str)}
    if isinstance(state, list | tuple):
        return [plain(item) for item in state]
    return (
        state.tolist() if isinstance(state, torch.Tensor) else repr(sorted(state) if isinstance(state, set) else state)
    )


@pytest.mark.parametrize("parts", [[[], [0, 1, 2, 3, 4]], [[3, 1], [0], [4, 2]], [[4, 3, 2, 1, 0], []]])
def test_parts_are_the_whole(parts):
    expected = plain(looked(range(5)).state_dict())
    merged = looked(parts[0])
    for part in parts[1:]:
        merged.merge(looked(part).state_dict())
    assert plain(merged.state_dict()) == expected


def test_what_an_earlier_sweep_left_everywhere_counts_once():
    first, second = looked([0]), looked([0])
    second.predicted[5] = [1, 1]
    first.merge(second.state_dict())
    assert first.predicted == {0: [0, 7], 5: [1, 1]}
    assert first.skipped == {"0.jpg"}
    assert list(first.notes) == [0]
    assert int(first.counts["fgsm"]) == 2, "sums add up"


def test_what_is_saved_is_plain_and_comes_back():
    gathered = looked([1, 2])
    file = io.BytesIO()
    save_plainly(gathered.state_dict(), file)
    file.seek(0)
    loaded = looked([8, 9])
    loaded.load_state_dict(torch.load(file, weights_only=True))
    assert plain(loaded.state_dict()) == plain(gathered.state_dict())
    assert isinstance(loaded.notes[1], Note)
    assert isinstance(loaded.requests[0], Note)
    assert isinstance(loaded.top["real"][0], TopImages)
    assert list(loaded.samples) == list(gathered.samples)
    assert isinstance(loaded.ranked["real"]["layer1"], TopImages)
    loaded.look(3)
    gathered.look(3)
    assert plain(loaded.state_dict()) == plain(gathered.state_dict())


def test_a_state_is_a_copy():
    gathered = looked([1])
    state = gathered.state_dict()
    before = plain(state)
    gathered.look(2)
    gathered.counts["real"] += 1
    gathered.rows[1]["topk"]["value"] = 3.0
    assert plain(state) == before
    loaded = Gathered()
    loaded.load_state_dict(state)
    loaded.look(2)
    loaded.rows[1]["topk"]["value"] = 3.0
    assert plain(state) == before


def test_other_kinds_of_state_are_refused():
    class Wrong(Summed):
        """Sums a text."""

        summed = ("text",)
        text = "a"

    with pytest.raises(TypeError, match="made of tensors, numbers, sets and dictionaries, got str"):
        Wrong().merge({"text": "b"})
