"""Deletion and insertion against a literal loop, and the areas by hand."""

import numpy as np
import pytest
import torch
from helpers import small_batch, small_network

from lightning_advinterp.metrics.faithfulness import area, deletion_insertion, replacement_curve


def literal_curve(score, begin, end, heatmap, steps):
    """One image, one pixel at a time, in numpy."""
    places = sorted(np.ndindex(*heatmap.shape), key=lambda place: -heatmap[place])  # stable: reading order
    values, image, done = [score(begin)], begin.copy(), 0
    for step in range(1, steps + 1):
        until = round(len(places) * step / steps)
        for i, j in places[done:until]:
            image[:, i, j] = end[:, i, j]
        done = until
        values.append(score(image))
    return values


def test_against_a_loop_over_pixels():
    network, x = small_network().double(), small_batch(n=3, size=6, dtype=torch.float64).image
    maps = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    maps[0] = (maps[0] * 4).floor()  # ties
    end = x.flip(3)
    curves = replacement_curve(lambda z: network(z)[:, 1], x, end, maps, 7)
    for n in range(3):

        def score(image):
            return network(torch.from_numpy(image)[None])[0, 1].item()

        expected = literal_curve(score, x[n].numpy(), end[n].numpy(), maps[n].numpy(), 7)
        np.testing.assert_allclose(curves[n].detach().numpy(), expected, atol=1e-12)


def test_areas_by_hand():
    assert area(torch.tensor([[1.0, 0.5, 0.0], [1.0, 1.0, 1.0]])).tolist() == [0.5, 1.0]


def test_a_map_that_knows_does_better_than_one_that_does_not():
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    weight = torch.zeros(16, 16)
    weight[3:6, 8:12] = 1

    def score(images):
        return (images.mean(1) * weight).sum((1, 2)) / weight.sum()

    mean = torch.zeros(3, 1, 1)
    good, bad = (deletion_insertion(score, x, m.expand(2, 16, 16), mean, 8) for m in (weight, 1 - weight))
    assert bool((good[0] < bad[0] - 0.2).all())
    untouched = score(x)
    assert bool(((good[1] - untouched).abs() < (bad[1] - untouched).abs()).all())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maps": torch.zeros(2, 3, 4)}, "maps"),
        ({"steps": 0}, "steps must be 1"),
        ({"end": torch.zeros(2, 3, 4, 5)}, "end"),
    ],
)
def test_wrong_arguments_are_refused(change, message):
    images = torch.zeros(2, 3, 4, 4)
    arguments = {"begin": images, "end": images, "maps": torch.zeros(2, 4, 4), "steps": 2} | change
    with pytest.raises(ValueError, match=message):
        replacement_curve(lambda z: z.sum((1, 2, 3)), **arguments)
