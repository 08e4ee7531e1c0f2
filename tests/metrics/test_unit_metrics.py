"""Dissection's torchmetrics: the same numbers as its counters, in one piece, in parts, and over processes."""

import copy
import pickle

import numpy as np
import pytest
import torch
from processes import on_processes, unit_metrics_on_a_share
from reference.dissection import dissect

from lightning_advinterp.metrics.label_maps import Vocabulary
from lightning_advinterp.metrics.quantile import TopQuantile
from lightning_advinterp.metrics.unit_metrics import ConceptIoU, UnitThresholds

CATEGORIES_OF = {1: 0, 7: 1, 300: 1, 700: 2}
SIZE = (8, 8)


@pytest.fixture
def maps():
    maps = torch.randn(9, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    maps[:, 2].relu_()
    return maps


@pytest.fixture
def labels():
    generator = np.random.default_rng(0)
    return [
        ({0: generator.choice([0, 1], (1, *SIZE)), 1: generator.choice([0, 7, 300], (2, *SIZE))}, {2: (700,)})
        for _ in range(9)
    ]


def parts_of(metric, *columns):
    """Two copies that see an odd number of images each, in batches."""
    parts = [copy.deepcopy(metric), copy.deepcopy(metric)]
    for part, (start, stop) in zip(parts, ((0, 4), (4, 9)), strict=True):
        for at in range(start, stop, 2):
            part.update(*(column[at : min(at + 2, stop)] for column in columns))
    return parts


@pytest.mark.parametrize("images", [None, 9])
def test_thresholds(maps, images):
    counter = TopQuantile(0.9, images)
    counter.update(maps)
    whole = UnitThresholds(0.9, images)
    for one in maps:
        whole.update(one[None])
    assert torch.equal(whole.compute(), counter.compute())
    first, second = parts_of(UnitThresholds(0.9, images), maps)
    first.merge_state(second)
    assert torch.equal(first.compute(), counter.compute())
    first.update(maps[:0])  # goes on from merged states
    assert torch.equal(pickle.loads(pickle.dumps(first)).compute(), counter.compute())
    first.reset()
    first.update(maps[:4])
    assert not torch.equal(first.compute(), counter.compute())


@pytest.mark.parametrize("rule", ["original", "plain", "lite"])
def test_overlaps(maps, labels, rule):
    thresholds, vocabulary = torch.tensor([0.5, 1.0, 0.0]), Vocabulary(CATEGORIES_OF, ("color", "object", "scene"))
    inside, area, truth = dissect(maps.numpy(), thresholds.numpy(), labels, CATEGORIES_OF, SIZE, rule)
    expected = [
        [inside[u, c] / (area[u, c] + truth[c] - inside[u, c]) for c in sorted(CATEGORIES_OF)] for u in range(3)
    ]
    metric = ConceptIoU(thresholds, vocabulary, SIZE, rule)
    first, second = parts_of(metric, maps, labels)
    metric.update(maps, labels)
    first.merge_state(second)
    for found in (metric, first):
        assert found.compute().tolist() == expected
        assert int(found.counts().images.sum()) == 9
    first.reset()
    assert int(first.counts().images.sum()) == 0


@pytest.mark.ddp
def test_two_processes_synchronise():
    """On an odd number of images, where they have different numbers of bins."""
    thresholds, overlaps = unit_metrics_on_a_share(0, 1, 9)
    for other_thresholds, other_overlaps in on_processes(unit_metrics_on_a_share, 2, 9):
        assert torch.equal(thresholds, other_thresholds)
        assert torch.equal(overlaps, other_overlaps)
    assert overlaps.max() > 0


def test_a_batch_at_a_time(maps, labels):
    """``forward`` gives the batch's own value, and adds it to the whole."""
    metric = UnitThresholds(0.9)
    own = metric(maps[:4])
    metric(maps[4:])
    alone = UnitThresholds(0.9)
    alone.update(maps[:4])
    assert torch.equal(own, alone.compute())
    alone.update(maps[4:])
    assert torch.equal(metric.compute(), alone.compute())
