from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_advinterp.data.broden import (
    BrodenDataset,
    ConceptWorldConcepts,
    check_set,
    open_concepts,
    write_concept_world,
)
from lightning_advinterp.data.concept_world import CATEGORIES, CONCEPTS, NUMBER, OFFSETS, render
from lightning_advinterp.data.loaders import make_loader


def test_labels_are_those_of_the_renderer():
    data = ConceptWorldConcepts(6, size=32, seed=3)
    assert data.categories == CATEGORIES
    assert {(c.number, c.name, data.categories[c.category]) for c in data.concepts.values()} == set(CONCEPTS)
    for index in range(6):
        rendering = render(OFFSETS["test"] + index, seed=3, size=32)
        np.testing.assert_array_equal(data[index].image.permute(1, 2, 0), rendering.image)
        maps, full_labels = data.segmentation(index)
        assert full_labels == {CATEGORIES.index("scene"): (rendering.scene,)}
        for category, name in enumerate(CATEGORIES):
            layers = [layer for layer in rendering.layers.get(name, []) if layer.any()]
            assert (category in maps) == bool(layers)
            if layers:
                assert maps[category].dtype == np.int32
                np.testing.assert_array_equal(maps[category], np.stack(layers))


def test_a_small_map_has_the_labels_at_its_cells_centres():
    full, small = ConceptWorldConcepts(2, size=32), ConceptWorldConcepts(2, size=32, label_size=8)
    color = CATEGORIES.index("color")
    np.testing.assert_array_equal(small.segmentation(1).maps[color], full.segmentation(1).maps[color][:, 2::4, 2::4])
    assert small.label_size == (8, 8)
    with pytest.raises(ValueError, match="label_size must divide size=32, got 12"):
        ConceptWorldConcepts(2, size=32, label_size=12)


def test_choices_keep_numbers_and_batches_are_made():
    data = ConceptWorldConcepts(5, size=16)
    part = data.only([3, 1])
    batch = next(iter(make_loader(part, batch_size=2)))
    assert (batch.index.tolist(), batch.label.tolist()) == ([3, 1], [-1, -1])
    assert torch.equal(batch.image[0], data[3].image)
    assert part.path_of(3) == "test/000003.png"
    variants = [
        ConceptWorldConcepts(5, size=16, seed=1),
        ConceptWorldConcepts(5, size=32),
        ConceptWorldConcepts(6, size=16),
    ]
    variants += [part, data.only([1, 3]), ConceptWorldConcepts(5, size=16, label_size=8)]
    variants += [ConceptWorldConcepts(5, size=16, split="val")]
    assert len({data.fingerprint, *(variant.fingerprint for variant in variants)}) == 8
    assert data.fingerprint == ConceptWorldConcepts(5, size=16).fingerprint == data.only(range(5)).fingerprint


@pytest.mark.parametrize("label_size", [24, 12])
def test_the_written_set_reads_back_equal(tmp_path: Path, label_size: int):
    data = ConceptWorldConcepts(8, size=24, label_size=label_size)
    root = write_concept_world(tmp_path, data)
    stored = check_set(root)
    assert root.name == f"concept_world_{data.fingerprint}"
    assert (stored.categories, stored.label_size, len(stored)) == (data.categories, data.label_size, 8)
    assert {n: c.name for n, c in stored.concepts.items()} == {n: c.name for n, c in data.concepts.items()}
    assert stored.concepts == data.concepts
    pictures = BrodenDataset(root)
    for index in range(8):
        assert torch.equal(pictures[index].image, data[index].image)
        assert stored.path_of(index) == data.path_of(index)
        copied, theirs = stored.segmentation(index), data.segmentation(index)
        assert (copied.whole, copied.maps.keys()) == (theirs.whole, theirs.maps.keys())
        for category in copied.maps:
            np.testing.assert_array_equal(copied.maps[category], theirs.maps[category])


def test_it_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = ConceptWorldConcepts(2, size=16)
    root = write_concept_world(tmp_path, data)
    monkeypatch.setattr(ConceptWorldConcepts, "rendering", None)
    assert write_concept_world(tmp_path, data) == root
    assert [path.name for path in tmp_path.iterdir()] == [root.name]


def test_two_processes_may_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = ConceptWorldConcepts(2, size=16)
    render_it, done = ConceptWorldConcepts.rendering, []

    def slowly(self, index):  # the other process finishes while this one is at work
        if not done:
            done.append(True)
            write_concept_world(tmp_path, data)
        return render_it(self, index)

    monkeypatch.setattr(ConceptWorldConcepts, "rendering", slowly)
    root = write_concept_world(tmp_path, data)
    assert len(check_set(root)) == 2
    assert [path.name for path in tmp_path.iterdir()] == [root.name]


def test_the_option_opens_it():
    data = open_concepts("concept_world", 32, n=3, seed=2)
    assert isinstance(data, ConceptWorldConcepts)
    assert (len(data), data[0].image.shape, data.label_size) == (3, (3, 32, 32), (32, 32))
    assert NUMBER["object", "car"] in data.concepts
