"""The concept world as a data set and as a data module."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.concept_world import CLASSES, OFFSETS, ConceptWorld, render
from lightning_advinterp.data.concept_world.farm import render_spans
from lightning_advinterp.datamodules import ConceptWorldDataModule


def test_an_item_is_the_rendering():
    data = ConceptWorld("val", 24, size=32, seed=4)
    item = data[7]
    expected = render(OFFSETS["val"] + 7, seed=4, size=32)
    assert isinstance(item, Batch)
    assert item.image.dtype == torch.uint8
    assert np.array_equal(item.image.permute(1, 2, 0).numpy(), expected.image)
    assert (item.label.item(), item.index.item()) == (expected.label, 7)
    assert item.label.dtype == item.index.dtype == torch.int64


def test_default_collation_gives_a_batch():
    batch = next(iter(DataLoader(ConceptWorld("test", 6, size=16), batch_size=4)))
    assert isinstance(batch, Batch)
    assert batch.image.shape == (4, 3, 16, 16)
    assert batch.index.tolist() == [0, 1, 2, 3]


def test_splits_are_disjoint():
    sets = [ConceptWorld(split, 60, size=16).images for split in ("train", "val", "test")]
    pictures = {image.numpy().tobytes() for images in sets for image in images}
    assert len(pictures) == 180
    bounds = sorted(OFFSETS.values())
    assert all(b - a >= 12_000_000 for a, b in pairwise(bounds))


def test_prepared_and_lazy_pictures_are_equal_and_safe_from_callers():
    lazy, prepared = ConceptWorld("train", 30, size=16), ConceptWorld("train", 30, size=16)
    lazy[3].image.zero_()
    prepared.prepare()
    prepared[3].image.zero_()
    assert torch.equal(lazy[3].image, prepared[3].image)
    assert torch.equal(lazy.images, prepared.images)
    prepared.prepare(progress=True)


@pytest.mark.slow
def test_helpers_render_the_same_bytes():
    alone = np.concatenate([images for _, images in render_spans(5, 30, seed=2, size=16, workers=1)])
    pieces = list(render_spans(5, 30, seed=2, size=16, workers=2))
    assert [first for first, _ in pieces] == [5, 17]
    assert np.array_equal(np.concatenate([images for _, images in pieces]), alone)


def test_a_helper_that_fails_is_replaced(monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    pieces = [images for _, images in render_spans(0, 6, seed=0, size=16, workers=2)]
    assert sum(map(len, pieces)) == 6


def test_augmentation_is_a_function_of_seed_epoch_and_index():
    data = ConceptWorld("train", 12, size=32, shift=4)
    first = data.__getitems__(range(12))
    assert all(torch.equal(a.image, b.image) for a, b in zip(first, data.__getitems__(range(12)), strict=True))
    data.set_epoch(1)
    later = data.__getitems__(range(12))
    assert not all(torch.equal(a.image, b.image) for a, b in zip(first, later, strict=True))


def test_a_transform_gets_uint8_and_may_return_floats():
    data = ConceptWorld("train", 3, size=16, transform=lambda image: image.float() / 255)
    assert data[0].image.dtype == torch.float32
    assert float(data[0].image.max()) <= 1


def test_the_module_serves_every_split():
    module = ConceptWorldDataModule(train_size=50, val_size=13, test_size=12, image_size=16, batch_size=8)
    module.setup()
    assert [len(d) for d in (module.train_dataset, module.val_dataset, module.test_dataset)] == [50, 13, 12]
    assert module.num_classes == len(module.classes) == len(module.class_names) == 12
    assert module.classes == [c.wnid for c in CLASSES]
    train, val = list(module.train_dataloader()), list(module.val_dataloader())
    assert [len(b.label) for b in train] == [8] * 6
    assert torch.cat([b.index for b in val]).tolist() == list(range(13))
    assert torch.cat([b.index for b in train]).tolist() != list(range(48))
    assert sum(len(b.label) for b in module.test_dataloader()) == 12


@pytest.mark.parametrize("stage", ["fit", "validate", "test", "predict"])
def test_every_data_set_is_there_after_any_stage(stage):
    module = ConceptWorldDataModule(train_size=12, val_size=12, test_size=12, image_size=16)
    module.setup(stage)
    assert None not in (module.train_dataset, module.val_dataset, module.test_dataset)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"split": "trian", "n": 3}, "split must be one of train, val, test, got 'trian'"),
        ({"split": "train", "n": 0}, r"n must be in \[1, 12000000\], got 0"),
        ({"split": "train", "n": 3, "size": 8}, r"size must be in \[16, 1024\] pixels, got 8"),
        ({"split": "train", "n": 3, "shift": 64}, r"shift must be in \[0, size\)"),
    ],
)
def test_bad_arguments_are_named(arguments, match):
    with pytest.raises(ValueError, match=match):
        ConceptWorld(**arguments)


def test_bad_sizes_and_indices_are_named():
    with pytest.raises(ValueError, match="val_size must be at least 1, got 0"):
        ConceptWorldDataModule(val_size=0)
    with pytest.raises(IndexError, match=r"index must be in \[0, 3\), got 3"):
        ConceptWorld("train", 3, size=16)[3]


def test_colors_alone_do_not_tell_the_class():
    fit, test = (ConceptWorld(split, 600, size=32) for split in ("train", "test"))
    x, x_test = (_histograms(data.images) for data in (fit, test))
    mean, std = x.mean(0), x.std(0) + 1e-6
    x, x_test = (x - mean) / std, (x_test - mean) / std
    weight = torch.zeros(64, 12, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=50, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = cross_entropy(x @ weight, torch.tensor(fit.labels)) + 1e-3 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    accuracy = ((x_test @ weight).argmax(1) == torch.tensor(test.labels)).float().mean()
    assert accuracy <= 0.45


def _histograms(images):
    bins = (images >> 6).long()
    bins = (bins[:, 0] * 16 + bins[:, 1] * 4 + bins[:, 2]).flatten(1)
    return torch.zeros(len(images), 64).scatter_add_(1, bins, torch.ones(bins.shape)) / bins.shape[1]
