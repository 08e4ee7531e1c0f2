"""Where units are strongest, against a search by hand, for few pairs and for most."""

import pytest
import torch

from lightning_advinterp.units.strongest import Finder, first_strongest


def by_hand(plane):
    """Row and column of the first of the largest values."""
    best, place = float("-inf"), (0, 0)
    for row in range(plane.shape[0]):
        for column in range(plane.shape[1]):
            if plane[row, column] > best:
                best, place = float(plane[row, column]), (row, column)
    return place


@pytest.mark.parametrize("pairs", [3, 44])
@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
def test_places_equal_a_search_by_hand(pairs, last):
    """Few pairs are picked, many are looked up in whole maps; values of few levels have equals."""
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randint(0, 4, (6, units, 5, 7), generator=generator).float() for units in (4, 7)]
    if last:
        maps = [layer.movedim(1, -1).contiguous().movedim(-1, 1) for layer in maps]
    members = torch.tensor([0, 2, 3, 5])
    every = [(image, unit) for image in range(4) for unit in range(11)]
    chosen = torch.randperm(44, generator=generator)[:pairs].tolist()
    image, unit = torch.tensor([every[number] for number in chosen]).T
    places = Finder(maps, [4, 7], members)(image, unit)
    for place, number in zip(places.tolist(), chosen, strict=True):
        of_image, of_unit = every[number]
        layer, channel = (0, of_unit) if of_unit < 4 else (1, of_unit - 4)
        assert tuple(place) == by_hand(maps[layer][members[of_image], channel])


def test_what_is_no_number_lies_first():
    assert first_strongest(torch.tensor([[[1.0, float("nan")], [3.0, 2.0]]])).tolist() == [0]
