"""Streamed top images and samples against a full sort, in any batches and merged from any parts."""

import math

import pytest
import torch
from reference import semantics as literal

from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.metrics.sample import ImageSample
from lightning_advinterp.units.top_images import TopImages, from_keys, kept_count, to_keys

UNITS, IMAGES = 7, 60


@pytest.fixture
def stream():
    """Activations with many ties, negative values, zeros of both signs and a dead unit."""
    generator = torch.Generator().manual_seed(3)
    values = torch.randint(-4, 5, (IMAGES, UNITS), generator=generator).float() / 2
    values[:, 1] = torch.rand(IMAGES, generator=generator)
    values[:, 2] = 0
    values[::2, 2] = -0.0
    index = torch.randperm(1000, generator=generator)[:IMAGES]
    return values, index, torch.stack([index % 10, index % 7], dim=1)


def maps_of(values):
    """Feature maps whose maximum is the value, at a place that depends on image and unit."""
    maps = (values[:, :, None, None] - 1).repeat(1, 1, 3, 4)
    places = torch.arange(values.numel()).view(values.shape) % 12
    return maps.flatten(2).scatter(2, places[..., None], values[..., None]).view(*values.shape, 3, 4), places


def fill(top, stream, parts):
    values, index, notes = stream
    maps, _ = maps_of(values)
    for part in parts:

        def locate(image, unit, part=part):
            flat = maps[part][image, unit].flatten(1).argmax(1)
            return torch.stack([flat // 4, flat % 4], dim=1)

        top.update(values[part], index[part], notes[part], locate)
    return top


def expected(stream, count):
    values, index, _ = stream
    return [literal.top_images(values[:, unit].tolist(), index.tolist(), count) for unit in range(UNITS)]


@pytest.mark.parametrize("batch", [1, 7, 60])
@pytest.mark.parametrize("keep", [1, 10, 100, None])
def test_equals_a_full_sort(stream, batch, keep):
    top = fill(TopImages(keep, show=4), stream, torch.arange(IMAGES).split(batch))
    count = min(keep or IMAGES, IMAGES)
    ranking = top.ranking(count)
    assert ranking.index.tolist() == expected(stream, count)
    for unit in range(UNITS):
        where = {int(number): place for place, number in enumerate(stream[1])}
        places = [where[number] for number in ranking.index[unit].tolist()]
        assert ranking.values[unit].tolist() == stream[0][places, unit].tolist()
        assert ranking.notes[unit].tolist() == stream[2][places].tolist()
        shown = maps_of(stream[0])[1][places[:4], unit]
        assert top.places()[unit].tolist() == [[int(p) // 4, int(p) % 4] for p in shown]


@pytest.mark.parametrize("parts", [2, 3])
def test_parts_merge_to_the_whole(stream, parts):
    tops = [fill(TopImages(5, show=3), stream, torch.arange(IMAGES)[rank::parts].split(8)) for rank in range(parts)]
    merged = TopImages(5, show=3)
    merged.load_state_dict(tops[0].state_dict())
    for top in tops[1:]:
        merged.merge(top.state_dict())
    alone = fill(TopImages(5, show=3), stream, [torch.arange(IMAGES)])
    assert merged.seen == alone.seen == IMAGES
    for ranked, expected in zip(merged.ranking(5), alone.ranking(5), strict=True):
        assert torch.equal(ranked, expected)
    assert torch.equal(merged.places(), alone.places())
    empty = TopImages(5, show=3)
    empty.merge(TopImages(5, show=3).state_dict())
    empty.merge(alone.state_dict())
    assert torch.equal(empty.ranking(5).index, alone.ranking(5).index)


def test_memory_is_flat(stream):
    values, index, notes = stream
    top = TopImages(4, show=2)
    sizes = []
    for round_ in range(5):
        top.update(values, index + 1000 * round_, notes, lambda image, unit: torch.zeros(len(image), 2))
        sizes.append(sum(part.numel() for part in top.state_dict().values() if isinstance(part, torch.Tensor)))
    assert sizes == [UNITS * (4 + 4 * 2 + 2 + 2 * 2 + 1)] * 5


@pytest.mark.parametrize("parts", [1, 3])
def test_a_unit_of_one_value_is_known(stream, parts):
    """The dead unit, of zeros of both signs, and one of a constant above zero; NaN counts as the lowest value."""
    values, index, notes = stream
    values[:, 4], values[:, 5] = 1.5, 1.5
    values[59, 5] = math.nan
    top = TopImages(4)
    for rank in range(parts):
        part = TopImages(4)
        for batch in torch.arange(IMAGES)[rank::parts].split(8):
            part.update(values[batch], index[batch], notes[batch])
        top.merge(part.state_dict())
    assert top.ranking(4).constant.tolist() == [False, False, True, False, True, False, False]
    alone = TopImages(4)
    alone.update(values[:1], index[:1], notes[:1])
    assert not alone.ranking(1).constant.any()


def test_keys_order_as_floats_do():
    values = torch.tensor([-math.inf, -3.5, -1e-40, -0.0, 0.0, 1e-40, 2.0, 3e38, math.inf, math.nan])
    keys = to_keys(values[:, None], torch.arange(10))[:, 0]
    order = keys.argsort(descending=True).tolist()
    assert order == [8, 7, 6, 5, 3, 4, 2, 1, 0, 9], "equal zeros by number; NaN as low as -inf"
    back, index = from_keys(keys)
    assert index.tolist() == list(range(10))
    assert torch.equal(back[:9], values[:9] + 0.0)


def test_kept_count():
    assert [kept_count(0.01, n) for n in (50_000, 2000, 100, 101, 3)] == [500, 20, 1, 2, 1]
    assert [kept_count(s, 100) for s in (0.07, 0.29, 1)] == [7, 29, 100]
    with pytest.raises(ValueError, match=r"share must be in \(0, 1\]"):
        kept_count(0, 10)


def test_wrong_arguments_are_refused(stream):
    values, index, notes = stream
    with pytest.raises(ValueError, match="keep must be 1 or more"):
        TopImages(0)
    with pytest.raises(ValueError, match="index must lie in"):
        TopImages(1).update(values, index - 2000, notes)
    with pytest.raises(ValueError, match="locate is needed"):
        TopImages(1, show=1).update(values, index, notes)
    with pytest.raises(ValueError, match="no images were seen"):
        TopImages(1).ranking(1)
    top = fill(TopImages(2), stream, [torch.arange(IMAGES)])
    with pytest.raises(ValueError, match="at most the 2 images kept per unit, got 3"):
        top.ranking(3)


@pytest.mark.parametrize("batch", [1, 9, 60])
def test_sample_is_the_smallest_draws(stream, batch):
    values, index, _ = stream
    sample = ImageSample(12, seed=5)
    for part in torch.arange(IMAGES).split(batch):
        sample.update(index[part], {"values": values[part]})
    chosen, fields = sample.fields()
    best = sample_keys(index, seed=5).argsort()[:12]
    assert chosen.tolist() == sorted(index[best].tolist())
    where = {int(number): place for place, number in enumerate(index)}
    assert torch.equal(fields["values"], values[[where[int(number)] for number in chosen]])


def test_samples_merge_to_the_whole(stream):
    values, index, _ = stream
    joint, merged = ImageSample(12), ImageSample(12)
    joint.update(index, {"values": values})
    for rank in range(3):
        part = ImageSample(12)
        part.update(index[rank::3], {"values": values[rank::3]})
        merged.merge(part.state_dict())
    restored = ImageSample(12)
    restored.load_state_dict(merged.state_dict())
    for sample in (merged, restored):
        assert torch.equal(sample.fields()[0], joint.fields()[0])
        assert torch.equal(sample.fields()[1]["values"], joint.fields()[1]["values"])
    with pytest.raises(ValueError, match="capacity must be 1 or more"):
        ImageSample(0)
