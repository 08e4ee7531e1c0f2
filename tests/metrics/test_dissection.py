"""The dissection's counts against a literal re-implementation, and the rules by hand."""

import numpy as np
import pytest
import torch
from reference.dissection import dissect, enlarge, shrink
from skimage.transform import resize
from torch.nn import functional as F

from lightning_advinterp.metrics.dissection import ConceptCounts
from lightning_advinterp.metrics.label_maps import Vocabulary, batch_labels, image_labels
from lightning_advinterp.metrics.masks import exceeding_pixels

RULES = ("original", "plain", "lite")
CATEGORIES_OF = {1: 0, 2: 0, 3: 1, 7: 1, 300: 1, 700: 2, 701: 2, 5: 3}
NAMES = ("color", "object", "scene", "texture")


def random_image(generator, size):
    """Colours everywhere, objects in up to three layers, at times a scene or textures, at times nothing."""
    maps, full_labels = {}, {}
    if generator.random() < 0.8:
        maps[0] = generator.choice([0, 1, 2, 300], size=(1, *size))
    if generator.random() < 0.7:
        maps[1] = generator.choice([0, 0, 3, 7, 300, 2], size=(generator.integers(1, 4), *size))
    if generator.random() < 0.5:
        full_labels[2] = (int(generator.choice([700, 701])),)
    if generator.random() < 0.3:
        full_labels[3] = (5, 1)
    return maps, full_labels


def counts_of(maps, thresholds, segmentations, size, rule, *, batch=3, groups=1, vocabulary=None):
    vocabulary = vocabulary or Vocabulary(CATEGORIES_OF, NAMES)
    counts = ConceptCounts(len(thresholds), vocabulary, rule=rule, groups=groups)
    for start in range(0, len(maps), batch):
        part = slice(start, start + batch)
        labels = [image_labels(*segmentation, vocabulary, size, rule) for segmentation in segmentations[part]]
        group = torch.arange(start, min(start + batch, len(maps))) % groups
        counts.update(torch.from_numpy(maps[part]), thresholds, batch_labels(labels, vocabulary), size, group)
    return counts


def assert_counts(counts, expected):
    intersection, area, truth = expected
    vocabulary = counts.vocabulary
    for column, label in enumerate(vocabulary.numbers):
        category = vocabulary.category[column]
        assert int(counts.truth[:, column].sum()) == truth[label]
        for unit in range(counts.area.shape[1]):
            assert int(counts.intersection[:, unit, column].sum()) == intersection[unit, label], (unit, label)
            assert int(counts.area[:, unit, category].sum()) == area[unit, label], (unit, label)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("shape", "size"), [((4, 4), (8, 8)), ((3, 5), (7, 11)), ((6, 4), (6, 9)), ((1, 1), (5, 5))])
def test_counts_equal_a_literal_loop(rule, shape, size):
    generator = np.random.default_rng(sum(shape) + len(rule))
    maps = generator.normal(size=(8, 5, *shape)).astype(np.float32)
    maps[:, 3] = maps[:, 3].round()  # many ties, also with the threshold
    maps[:, 4] = -0.5  # a constant unit never exceeds
    thresholds = np.array([1.0, 0.3, -0.5, 1.0, -0.5], dtype=np.float32)
    segmentations = [random_image(generator, size) for _ in maps]
    expected = dissect(maps, thresholds, segmentations, CATEGORIES_OF, size, rule)
    assert_counts(counts_of(maps, torch.from_numpy(thresholds), segmentations, size, rule), expected)
    assert_counts(counts_of(maps, torch.from_numpy(thresholds), segmentations, size, rule, batch=8, groups=3), expected)


@pytest.mark.parametrize(("shape", "size"), [((7, 7), (112, 112)), ((13, 13), (113, 113)), ((14, 9), (56, 20))])
def test_upsampling_is_bilinear_at_half_pixels(shape, size):
    plane = np.random.default_rng(0).normal(size=shape)
    expected = F.interpolate(torch.from_numpy(plane)[None, None], size=size, mode="bilinear")[0, 0].numpy()
    np.testing.assert_allclose(enlarge(plane, size), expected, atol=1e-12)
    np.testing.assert_allclose(expected, resize(plane, size, order=1, mode="edge"), atol=1e-12)
    for threshold in (-1.0, 0.4, 1.5):
        hits = exceeding_pixels(torch.from_numpy(plane)[None, None], torch.tensor([threshold]), size)
        mask = np.zeros(size, bool)
        mask.reshape(-1)[hits.pixel] = True
        assert (mask == (expected > threshold)).all()
        assert len(hits.pixel) == mask.sum()


def test_shrinking_is_antialiased():
    """As PIL does; a stripe thinner than a pixel is averaged away."""
    from PIL import Image

    plane = torch.zeros(1, 2, 24, 24)
    plane[0, 0, :, 5] = 1
    plane[0, 1] = torch.rand(24, 24, generator=torch.Generator().manual_seed(0))
    hits = exceeding_pixels(plane, torch.tensor([0.4, 0.5]), (6, 6))
    assert (hits.row == 1).all()
    expected = np.asarray(Image.fromarray(plane[0, 1].numpy()).resize((6, 6), Image.Resampling.BILINEAR))
    assert sorted(hits.pixel.tolist()) == np.flatnonzero(expected.reshape(-1) > 0.5).tolist()


@pytest.mark.parametrize(("limit", "size"), [("_MOST", 300), ("_CELLS", 20)])
@pytest.mark.parametrize("rule", RULES)
def test_busy_units_are_counted_a_few_images_at_a_time(rule, limit, size, monkeypatch):
    """Halves of a batch, down to single images, where there is too much to interpolate or to count at once."""
    generator = np.random.default_rng(9)
    maps = generator.normal(size=(7, 5, 4, 4)).astype(np.float32)
    segmentations = [random_image(generator, (8, 8)) for _ in maps]
    vocabulary, thresholds = Vocabulary(CATEGORIES_OF, NAMES), torch.full((5,), -0.5)
    expected = counts_of(maps, thresholds, segmentations, (8, 8), rule, batch=7, vocabulary=vocabulary)
    sizes = []
    monkeypatch.setattr(f"lightning_advinterp.metrics.dissection.{limit}", size)
    inner = ConceptCounts._count_units
    monkeypatch.setattr(
        ConceptCounts, "_count_units", lambda self, *all: (sizes.append(len(all[0])), inner(self, *all))
    )
    chunked = counts_of(maps, thresholds, segmentations, (8, 8), rule, batch=7, vocabulary=vocabulary)
    assert sizes[0] == 7
    assert sizes.count(1) == 7
    for name, value in expected.state_dict().items():
        assert torch.equal(value, chunked.state_dict()[name]), name


def test_a_plateau_at_the_threshold_does_not_exceed_it():
    """0.1 has no exact weights: w₀·a + w₁·a would lie above a at some pixels."""
    plane = torch.full((1, 1, 13, 13), 0.1)
    plane[0, 0, 0, 0] = 5
    hits = exceeding_pixels(plane, torch.tensor([0.1]), (113, 113))
    assert hits.pixel.max() < 113 * 14


@pytest.mark.parametrize("value", [0.1, 0.7, -0.3])
def test_a_plateau_does_not_exceed_when_it_is_shrunk_either(value):
    """149 -> 112 are Inception's first maps on Broden's labels: its weights sum to 1 but for rounding."""
    plane = torch.full((1, 1, 149, 149), value)
    plane[0, 0, 0, 0] = 5
    hits = exceeding_pixels(plane, torch.tensor([value]), (112, 112))
    assert hits.pixel.tolist() == [0]


@pytest.mark.parametrize(("shape", "size"), [((9, 10), (4, 7)), ((16, 5), (7, 6))])
def test_shrunk_maps_equal_a_literal_loop(shape, size):
    maps = np.random.default_rng(1).normal(size=(3, 2, *shape))
    hits = exceeding_pixels(torch.from_numpy(maps), torch.tensor([0.2, 0.5]), size)
    mask = np.zeros((6, size[0] * size[1]), bool)
    mask[hits.row, hits.pixel] = True
    expected = [shrink(plane, size) > (0.2, 0.5)[unit] for planes in maps for unit, plane in enumerate(planes)]
    assert (mask == np.stack(expected).reshape(mask.shape)).all()


@pytest.mark.parametrize("size", [(16, 16), (3, 3)])
def test_maps_in_bfloat16_count_like_their_values(size):
    """1.003 lies between 1 and the next value, 1.0078: 1 does not exceed it, and would if it were rounded down."""
    maps = (1 + torch.randint(-2, 3, (2, 3, 5, 5), generator=torch.Generator().manual_seed(0)) / 128).bfloat16()
    thresholds = torch.tensor([1.003, 0.997, 1.0])
    hits, expected = (exceeding_pixels(values, thresholds, size) for values in (maps, maps.float()))
    assert len(hits.row) > 0
    assert torch.equal(hits.row, expected.row)
    assert torch.equal(hits.pixel, expected.pixel)


WHOLE_MAP = np.ones((1, 1, 2, 2), dtype=np.float32)


def by_hand(segmentation, rule, maps=WHOLE_MAP, threshold=0.0):
    counts = counts_of(maps, torch.tensor([threshold]), [segmentation] * len(maps), (2, 2), rule)
    column = {number: place for place, number in enumerate(counts.vocabulary.numbers)}
    return counts, column


def label_map(*layers):
    return np.array(layers, dtype=np.int32)


LEFT_HALF = np.array([[[[1.0, 0.0], [1.0, 0.0]]]], dtype=np.float32)


@pytest.mark.parametrize(("rule", "times"), [("original", 2), ("lite", 2), ("plain", 1)])
def test_a_label_in_two_categories(rule, times):
    """Counted twice in G and I and once in A, under its primary category alone; as a set once."""
    maps = {0: label_map([[3, 0], [0, 0]]), 1: label_map([[3, 0], [0, 3]])}
    counts, column = by_hand((maps, {}), rule, LEFT_HALF, 0.5)
    assert counts.truth[0, column[3]] == (3 if times == 2 else 2)
    assert counts.intersection[0, 0, column[3]] == times
    assert counts.area[0, 0].tolist() == ([2, 2, 2, 2] if rule == "plain" else [0, 2, 0, 0])
    union = 2 + int(counts.truth[0, column[3]]) - times
    assert counts.iou()[0, column[3]] == times / union


@pytest.mark.parametrize(("rule", "times"), [("original", 2), ("lite", 2), ("plain", 1)])
def test_two_layers_at_one_pixel(rule, times):
    maps = {1: label_map([[3, 0], [0, 0]], [[3, 7], [0, 0]])}
    counts, column = by_hand((maps, {}), rule)
    assert counts.truth[0, column[3]] == times
    assert counts.intersection[0, 0, [column[3], column[7]]].tolist() == [times, 1]


def test_label_numbers_above_255():
    """300 = 44 + 256 is not 44."""
    counts, column = by_hand(({1: label_map([[300, 300], [0, 0]])}, {}), "original")
    assert counts.truth[0, column[300]] == 2
    assert counts.iou()[0, column[300]] == 2 / 4


@pytest.mark.parametrize("rule", RULES)
def test_image_level_labels_count_the_whole_image(rule):
    counts, column = by_hand(({}, {2: (700,), 3: (5,)}), rule, LEFT_HALF, 0.5)
    assert counts.truth[0, [column[700], column[5]]].tolist() == [4, 4]
    assert counts.intersection[0, 0, [column[700], column[5]]].tolist() == [2, 2]
    assert counts.iou()[0, column[700]] == 0.5
    assert counts.area[0, 0].tolist() == ([2] * 4 if rule == "plain" else [0, 0, 2, 2])


def test_an_image_without_labels_counts_in_the_plain_union_alone():
    """Lite counts it with whatever category the unit met last: a fault that is not kept."""
    labelled = ({1: label_map([[3, 3], [3, 3]])}, {})
    for rule, area in (("original", 4), ("lite", 4), ("plain", 8)):
        counts = counts_of(np.repeat(WHOLE_MAP, 2, 0), torch.tensor([0.0]), [labelled, ({}, {})], (2, 2), rule)
        assert counts.area[0, 0, 1] == area
        assert counts.images.tolist() == [2]


def test_lite_asks_what_the_unit_touches():
    """A category present elsewhere in the image: the original counts the area, Lite does not."""
    segmentation = ({1: label_map([[0, 3], [0, 3]])}, {})
    assert by_hand(segmentation, "original", LEFT_HALF, 0.5)[0].area[0, 0, 1] == 2
    assert by_hand(segmentation, "lite", LEFT_HALF, 0.5)[0].area[0, 0, 1] == 0


def test_a_dead_unit_and_ties_are_never_active():
    counts, _ = by_hand(({1: label_map([[3, 3], [3, 3]])}, {}), "original", np.zeros((1, 1, 2, 2), np.float32), 0.0)
    assert counts.intersection.sum() == 0
    assert counts.iou().max() == 0


def test_a_unit_that_is_a_concepts_mask_has_iou_one():
    generator = np.random.default_rng(3)
    masks = generator.integers(0, 2, size=(5, 1, 8, 8)).astype(np.float32)
    segmentations = [({0: np.full((1, 8, 8), 1), 1: (7 * mask).astype(np.int32)}, {}) for mask in masks]
    counts = counts_of(masks, torch.tensor([0.5]), segmentations, (8, 8), "original")
    assert counts.iou()[0, counts.vocabulary.numbers.index(7)] == 1


def test_parts_merge_to_the_whole():
    generator = np.random.default_rng(4)
    maps = generator.normal(size=(7, 3, 4, 4)).astype(np.float32)
    segmentations = [random_image(generator, (8, 8)) for _ in maps]
    thresholds = torch.tensor([0.5, 1.0, 0.0])
    vocabulary = Vocabulary(CATEGORIES_OF, NAMES)
    joint = counts_of(maps, thresholds, segmentations, (8, 8), "lite", vocabulary=vocabulary)
    parts = [
        counts_of(maps[part], thresholds, segmentations[part], (8, 8), "lite", vocabulary=vocabulary)
        for part in (slice(0, 3), slice(3, 7))
    ]
    parts[0].merge(parts[1].state_dict())
    for name, value in joint.state_dict().items():
        assert torch.equal(value, parts[0].state_dict()[name]), name


def one_image(groups):
    """Counts in some groups, and the arguments of an update by an image with one pixel of label 3, in the first."""
    vocabulary = Vocabulary(CATEGORIES_OF, NAMES)
    labels = batch_labels([image_labels({1: label_map([[3, 0], [0, 0]])}, {}, vocabulary, (2, 2))], vocabulary)
    arguments = (torch.from_numpy(WHOLE_MAP), torch.tensor([0.0]), labels, (2, 2), torch.tensor([0]))
    return ConceptCounts(1, vocabulary, groups=groups), vocabulary.numbers.index(3), arguments


def test_only_labels_must_fit_32_bits():
    """All of Broden has 8e8 pixels in several layers, most of them without a label."""
    counts, column, arguments = one_image(3)
    counts.truth[:, -1] = 4_000_000_000
    counts.truth[:, column] = 2**31 - 2
    counts.update(*arguments)
    counts.truth[:, column] = 2**31 - 1
    with pytest.raises(OverflowError, match="groups: 3 groups hold too many pixels each; take more groups"):
        counts.update(*arguments)


@pytest.mark.parametrize("groups", [1, 2])
def test_few_groups_hold_more_than_32_bits(groups):
    """Controls and noise have one group or two, whatever is asked for."""
    counts, column, arguments = one_image(groups)
    counts.truth[0, column] = counts.intersection[0, 0, column] = 2**31 - 1
    counts.update(*arguments)
    counts.merge(counts.state_dict())
    assert int(counts.intersection[0, 0, column]) == int(counts.truth[0, column]) == 2**32


def test_a_merged_state_must_fit_too():
    """Two processes with 2e9 pixels of a label each: their sum in 32 bits is negative."""
    counts, column, _ = one_image(3)
    counts.truth[0, column] = counts.intersection[0, 0, column] = 2_000_000_000
    with pytest.raises(OverflowError, match="groups: 3 groups hold too many pixels each; take more groups"):
        counts.merge(counts.state_dict())


def test_what_is_wrong_is_said():
    vocabulary = Vocabulary(CATEGORIES_OF, NAMES)
    with pytest.raises(ValueError, match="label number 4, which is not among the labels"):
        image_labels({1: label_map([[4, 0], [0, 0]])}, {}, vocabulary, (2, 2))
    with pytest.raises(ValueError, match=r"label maps must be \(2, 2\), got \(1, 2\) in category 1"):
        image_labels({1: label_map([[3, 0]])}, {}, vocabulary, (2, 2))
    with pytest.raises(ValueError, match="rule must be one of original, plain, lite, got 'union'"):
        ConceptCounts(1, vocabulary, rule="union")
    with pytest.raises(ValueError, match="categories from 0 to 3"):
        Vocabulary({1: 4}, NAMES)
