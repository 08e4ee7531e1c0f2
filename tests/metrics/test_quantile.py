"""The streaming quantile against sorted values, in every order, and its errors on many values."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from reference.dissection import top_quantile

from lightning_advinterp.metrics.quantile import TopQuantile
from lightning_advinterp.metrics.quantile_ranks import OFFICIAL, as_quantile, hazen_ranks


def stream(maps, quantile=0.995, images=None, batch=7, order=None):
    sketch = TopQuantile(quantile, images)
    maps = maps if order is None else maps[order]
    for start in range(0, len(maps), batch):
        sketch.update(maps[start : start + batch])
    return sketch


def maps_of_many_kinds(n=60, side=14, seed=0):
    """Normal, after a ReLU, dead, constant, heavy-tailed, negative, sparse, saturated, of signed zeros."""
    x = torch.randn(n, 12, side, side, generator=torch.Generator().manual_seed(seed))
    x[:, 1] = x[:, 1].relu()
    x[:, 2], x[:, 3] = 0, -1.7
    x[:, 4] = x[:, 4].exp().pow(4)
    x[:, 5] = -x[:, 5].abs() - 1
    x[:, 6] = (x[:, 6] - 2.7).relu()  # fewer than 0.5 % are not 0
    x[:, 7] = torch.tan(torch.pi * (torch.rand(n, side, side, generator=torch.Generator().manual_seed(1)) - 0.5))
    x[:, 8] = -x[:, 8].exp()
    x[:, 9] = x[:, 9].clamp(max=0.5)
    x[:, 10] = torch.where(x[:, 10] > 0, 0.0, -0.0)
    x[:, 11] = x[:, 11].round() * 1e-42  # below the smallest normal number
    return x


def sorted_quantile(maps, quantile):
    values = maps.double().permute(1, 0, 2, 3).flatten(1).numpy()
    return np.quantile(values, float(quantile), axis=1, method="hazen")


def same(first, second):
    return all(
        torch.equal(bins, other_bins) for bins, other_bins in zip(first["bins"], second["bins"], strict=True)
    ) and {key: value for key, value in first.items() if key != "bins"} == {
        key: value for key, value in second.items() if key != "bins"
    }


@pytest.mark.parametrize("images", [None, 60, 500])
@pytest.mark.parametrize("quantile", [0.995, "official", 0.9, 0.3])
def test_within_its_error_of_the_sorted_values(images, quantile):
    maps = maps_of_many_kinds()
    sketch = stream(maps, quantile, images)
    computed, expected = sketch.compute().numpy(), sorted_quantile(maps, as_quantile(quantile))
    tiny = 2.0**-137  # below the normal numbers all bins have this width
    assert (np.abs(computed - expected) <= 2.0**-11 * np.abs(expected) + tiny).all()
    assert (computed[2], computed[3], computed[10]) == (0, np.float32(-1.7), 0)
    refined = sketch.refined()
    for part in maps.split(13):
        refined.update(part)
    np.testing.assert_array_equal(refined.compute().numpy(), expected.astype(np.float32))


@pytest.mark.parametrize("images", [None, 60, 500])
def test_the_state_knows_no_order_batch_or_process(images):
    maps = maps_of_many_kinds()
    expected = stream(maps, 0.99, images).state_dict()
    for seed in range(3):
        order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
        assert same(stream(maps, 0.99, images, (1, 11, 60)[seed], order).state_dict(), expected)
        first, second = (stream(maps[part], 0.99, images, 5) for part in (order[:23], order[23:]))
        loaded = TopQuantile(0.99, images)
        loaded.load_state_dict(first.state_dict())
        loaded.merge(second.state_dict())
        assert same(loaded.state_dict(), expected)
        second.merge(first.state_dict())
        assert same(second.state_dict(), expected)


@pytest.mark.parametrize("block", [1, 40, 700])
def test_the_state_knows_no_blocks(block, monkeypatch):
    """Bins are worked on a few units at a time, down to single ones."""
    maps = maps_of_many_kinds()
    expected = stream(maps, 0.99, 60).state_dict()
    monkeypatch.setattr("lightning_advinterp.metrics.bins._BLOCK", block)
    assert same(stream(maps, 0.99, 60).state_dict(), expected)


def test_a_resumed_stream_goes_on():
    maps = maps_of_many_kinds()
    half = TopQuantile(0.99, 60)
    half.load_state_dict(stream(maps[:31], 0.99, 60).state_dict())
    half.update(maps[31:])
    assert same(half.state_dict(), stream(maps, 0.99, 60).state_dict())


def test_refinements_merge():
    maps = maps_of_many_kinds()
    sketch = stream(maps, 0.99)
    parts = [sketch.refined(), sketch.refined()]
    for part, half in zip(parts, maps.split(31), strict=True):
        part.update(half)
    loaded = sketch.refined()
    loaded.load_state_dict(parts[0].state_dict())
    loaded.merge(parts[1].state_dict())
    np.testing.assert_array_equal(loaded.compute().numpy(), sorted_quantile(maps, 0.99).astype(np.float32))


@pytest.mark.parametrize("kind", ["normal", "cauchy", "lognormal", "negative"])
def test_rank_error_on_a_million_values(kind):
    """Relative error of the value ≤ 2⁻¹¹, of the rank ≤ 1e-4 of the values."""
    generator = np.random.default_rng(5)
    draw = {
        "normal": generator.standard_normal,
        "cauchy": generator.standard_cauchy,
        "lognormal": lambda n: generator.lognormal(0, 4, n),
        "negative": lambda n: -generator.lognormal(3, 0.01, n),
    }[kind]
    values = draw(1_200_000).astype(np.float32)
    maps = torch.from_numpy(values).view(300, 1, 40, 100)
    computed = float(stream(maps, 0.995, 300, 50).compute())
    expected = np.quantile(values.astype(np.float64), 0.995, method="hazen")
    assert abs(computed - expected) <= 2.0**-11 * abs(expected)
    rank = (values <= computed).mean()
    assert abs(rank - 0.995) <= 1e-4


def test_memory_does_not_grow_with_the_images():
    """Bins of a unit: no more than its top share has values, and bounded at any number of them."""
    sizes = {}
    for n in (20, 200, 2000):
        maps = torch.randn(n, 4, 16, 16, generator=torch.Generator().manual_seed(n))
        sizes[n] = len(stream(maps, 0.995, n, 50).state_dict()["bins"][0]) / 4
    assert sizes[20] <= 0.005 * 20 * 256 + 2
    assert sizes[2000] < 5 * sizes[200]
    assert sizes[2000] < 2048 * np.log2(5.5 / 2.5)  # from the quantile to the largest of half a million values


@pytest.fixture(params=[3, 20, 200])
def cap(request, monkeypatch):
    """Far fewer fine bins of a unit than values."""
    monkeypatch.setattr("lightning_advinterp.metrics.quantile.FINE", request.param)
    monkeypatch.setattr("lightning_advinterp.metrics.quantile.FINE_OF_LAYER", 0)
    return request.param


@pytest.mark.parametrize("images", [60, 500])
def test_a_capped_state_knows_no_order_batch_or_process(images, cap):
    maps = maps_of_many_kinds()
    expected = stream(maps, 0.99, images).state_dict()
    assert int(expected["bins"][4].max()) <= 2 * cap  # bins of a unit; at 0.99 in proportion
    for seed in range(3):
        order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
        assert same(stream(maps, 0.99, images, (1, 11, 60)[seed], order).state_dict(), expected)
        first, second = (stream(maps[part], 0.99, images, 5) for part in (order[:23], order[23:]))
        second.merge(first.state_dict())
        assert same(second.state_dict(), expected)
        loaded = TopQuantile(0.99, images)
        loaded.load_state_dict(second.state_dict())
        assert same(loaded.state_dict(), expected)


@pytest.mark.parametrize("images", [60, 500])
@pytest.mark.parametrize("descending", [True, False])
def test_a_capped_quantile_keeps_its_promise_or_names_the_unit(images, descending, cap, caplog):
    """Whatever the order: the largest values first, or last."""
    maps = maps_of_many_kinds()
    order = maps[:, 0].amax((1, 2)).argsort(descending=descending)
    sketch = stream(maps, 0.99, images, order=order)
    computed, expected = sketch.compute().numpy(), sorted_quantile(maps, as_quantile(0.99))
    rough = sketch.unresolved().numpy()
    error = np.abs(computed - expected) / np.abs(expected).clip(2.0**-126)
    assert (error[~rough] <= 2.0**-11).all()
    assert (error[rough] <= 2.0**-5).all()
    assert bool(rough.any()) == (cap < 200) == ("units is known within 3 % alone" in caplog.text)
    for all_units in (True, False):
        refined = sketch.refined(all_units=all_units)
        for part in maps.split(13):
            refined.update(part)
        exact = refined.compute().numpy()
        unrefined = np.zeros_like(rough) if all_units else ~rough
        np.testing.assert_array_equal(exact[~unrefined], expected.astype(np.float32)[~unrefined])
        np.testing.assert_array_equal(exact[unrefined], computed[unrefined])


def test_memory_is_capped_from_the_first_image():
    """As many images announced as Broden has: nothing can be dropped for long."""
    sketch, held = TopQuantile(0.995, 63_305), []
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        sketch.update((2 * torch.randn(6, 128, 28, 28, generator=generator)).exp())
        state = sketch.state_dict()["bins"]
        held.append(sum(column.numel() * column.element_size() for column in state) / 128)
    assert max(held) <= 57_000
    assert held[-1] < 1.1 * held[-2]
    assert int(state[6].sum()) > 0.5 * 30 * 28 * 28 * 128  # what lies below is counted still, in wide bins


def test_hazen_in_exact_arithmetic():
    """Where the position is whole, the threshold is one of the values: 0.995 · 700 is 696.5, in floats less."""
    assert hazen_ranks(as_quantile(0.995), 700) == (3, 2, 0.0)
    assert hazen_ranks(as_quantile(0.995), 1) == (0, 0, 0.0)
    assert as_quantile("official") == OFFICIAL == Fraction(994, 999)
    values = list(np.random.default_rng(0).normal(size=700).astype(np.float32).astype(float))
    maps = torch.tensor(values, dtype=torch.float32).view(7, 1, 10, 10)
    sketch = stream(maps)
    refined = sketch.refined()
    refined.update(maps)
    assert float(refined.compute()) == top_quantile(values, Fraction(199, 200))
    assert float(refined.compute()) in values


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="quantile must lie between 0 and 1 or be 'official', got 1"):
        TopQuantile(1)
    with pytest.raises(ValueError, match="show at least one image"):
        TopQuantile().compute()
    sketch = stream(torch.rand(5, 2, 3, 3), images=4)
    with pytest.raises(ValueError, match="5 images were counted, 4 announced"):
        sketch.compute()
    with pytest.raises(ValueError, match="2 units of 9 positions as before, got 2 of 16"):
        sketch.update(torch.rand(5, 2, 4, 4))
