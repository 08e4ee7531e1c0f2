"""The concept world's pictures and labels: determinism, composition, balance, vocabulary."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from lightning_advinterp.data.concept_world import (
    CATEGORIES,
    CLASSES,
    CONCEPTS,
    NUMBER,
    OFFSETS,
    PARTS,
    ConceptClass,
    render,
    render_image,
)
from lightning_advinterp.data.concept_world.palette import PAINTS, name_colors
from lightning_advinterp.data.concept_world.rendering import label_for
from lightning_advinterp.data.concept_world.scenes import SCENES
from lightning_advinterp.data.concept_world.surface import PATTERNS
from lightning_advinterp.data.concept_world.vocabulary import (
    BYSTANDER_PARTS,
    COLOR_NAMES,
    SCENE_NAMES,
    TEXTURE_NAMES,
)

SAMPLE = range(72)


@pytest.fixture(scope="module")
def renderings():
    return [render(index) for index in SAMPLE]


def hero_mask(rendering):
    return rendering.layers["object"][0] == NUMBER["object", CLASSES[rendering.label].name]


def test_a_picture_is_the_same_each_time_and_in_any_order(renderings):
    for index in reversed(SAMPLE):
        again = render(index)
        assert again.image.tobytes() == renderings[index].image.tobytes()
        assert again.label == renderings[index].label == label_for(index)
        assert again.scene == renderings[index].scene
        for name, layers in again.layers.items():
            for layer, before in zip(layers, renderings[index].layers[name], strict=True):
                assert np.array_equal(layer, before)


def test_a_picture_is_the_same_in_another_process(renderings):
    code = (
        "import hashlib; from lightning_advinterp.data.concept_world import render_image;"
        "print(hashlib.sha256(render_image(5).tobytes()).hexdigest())"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == hashlib.sha256(renderings[5].image.tobytes()).hexdigest()


def test_the_global_generators_are_neither_used_nor_moved():
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002 - the legacy generator is what must stay untouched
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    render(7)
    assert np.array_equal(before[0], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(before[1], torch.get_rng_state())


def test_pictures_differ_by_index_and_by_seed(renderings):
    assert len({r.image.tobytes() for r in renderings}) == len(renderings)
    assert render_image(0, seed=1).tobytes() != renderings[0].image.tobytes()


def test_the_image_alone_is_the_rendering_s_image(renderings):
    assert np.array_equal(render_image(11), renderings[11].image)


@pytest.mark.parametrize("index", range(24))
def test_sizes_show_the_same_composition(index):
    small, large = render(index, size=64), render(index, size=128)
    assert (small.label, small.scene) == (large.label, large.scene)
    share = hero_mask(large).reshape(64, 2, 64, 2).mean((1, 3))
    ours, theirs = hero_mask(small), share >= 0.5
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.9
    shrunk = large.image.reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(shrunk - small.image).mean() < 8


def test_labels_are_balanced_and_shuffled():
    labels = [label_for(index) for index in range(120)]
    assert all(labels.count(k) == 10 for k in range(len(CLASSES)))
    runs = {tuple(labels[k : k + 12]) for k in range(0, 120, 12)}
    assert len(runs) > 5
    assert [label_for(index, seed=1) for index in range(120)] != labels


def test_splits_start_with_a_balanced_run():
    for offset in OFFSETS.values():
        assert sorted(label_for(offset + k) for k in range(12)) == list(range(12))


def test_shapes_and_types(renderings):
    for r in renderings:
        assert r.image.shape == (64, 64, 3)
        assert r.image.dtype == np.uint8
        assert set(r.layers) == {"color", "texture", "material", "part", "object"}
        for layers in r.layers.values():
            for layer in layers:
                assert layer.shape == (64, 64)
                assert layer.dtype == np.uint16


def test_labels_are_in_the_vocabulary_of_their_category(renderings):
    numbers = {c: {k.number for k in CONCEPTS if k.category == c} for c in CATEGORIES}
    for r in renderings:
        assert r.scene in numbers["scene"]
        for category, layers in r.layers.items():
            for layer in layers:
                assert set(np.unique(layer).tolist()) <= numbers[category] | {0}


def test_each_category_is_labelled(renderings):
    for category in ("color", "texture", "material", "part", "object"):
        shown = [np.mean(r.layers[category][0] > 0) for r in renderings]
        assert np.mean(shown) > 0.05, category
    assert all((r.layers["color"][0] > 0).all() for r in renderings)
    assert all((r.layers["material"][0] > 0).all() for r in renderings)
    assert len({r.scene for r in renderings}) == len(SCENE_NAMES)


def test_every_class_shows_named_parts_inside_its_object(renderings):
    names = {c.number: c.name for c in CONCEPTS}
    for r in renderings:
        name = CLASSES[r.label].name
        mask = hero_mask(r)
        side = max(np.ptp(np.flatnonzero(mask.any(0))), np.ptp(np.flatnonzero(mask.any(1)))) + 1
        assert side >= 0.4 * 64, name
        parts = {names[k] for k in np.unique(r.layers["part"][0][mask]).tolist() if k}
        assert len(parts) >= 2, (name, parts)
        assert parts <= set(PARTS[name]), (name, parts)
        assert np.mean(r.layers["part"][0][mask] > 0) > 0.9, name
        second_layer = r.layers["part"][1]
        assert (r.layers["part"][0][second_layer > 0] > 0).all()


def test_vocabulary_is_numbered_as_broden_is():
    assert [c.number for c in CONCEPTS] == list(range(1, len(CONCEPTS) + 1))
    assert len(NUMBER) == len(CONCEPTS)
    assert all(c.name.endswith("-c") == (c.category == "color") for c in CONCEPTS)
    assert all(c.name.endswith("-s") == (c.category == "scene") for c in CONCEPTS)
    assert {c.category for c in CONCEPTS} == set(CATEGORIES)
    assert set(PATTERNS) == set(TEXTURE_NAMES)
    assert set(SCENES) == set(SCENE_NAMES)


def test_classes_are_sorted_and_every_class_shares_parts():
    assert list(CLASSES) == sorted(CLASSES)
    for c in CLASSES:
        assert isinstance(c, ConceptClass)
        elsewhere = {part for name, parts in PARTS.items() if name != c.name for part in parts}
        assert set(PARTS[c.name]) & (elsewhere | set(BYSTANDER_PARTS)), c.name


@pytest.mark.parametrize("name", COLOR_NAMES)
def test_a_paint_has_the_name_it_was_mixed_for(name):
    pixel = np.array(PAINTS[name]).astype(np.uint8).reshape(1, 1, 3)
    assert name_colors(pixel).item() == NUMBER["color", f"{name}-c"]


def test_colors_and_scenes_are_drawn_independent_of_class():
    # The same draws serve any class: over 360 pictures no class strays far in its share of any scene.
    counts = np.zeros((len(CLASSES), len(SCENE_NAMES)))
    first = NUMBER["scene", f"{SCENE_NAMES[0]}-s"]
    for index in range(360):
        r = render(index, size=16)
        counts[r.label, r.scene - first] += 1
    expected = counts.sum(0) / len(CLASSES)
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert chi2 < 130  # 88 degrees of freedom: the 0.998 quantile


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"index": -1}, "index must be 0 or more, got -1"),
        ({"index": 0, "seed": -2}, "seed must be 0 or more, got -2"),
        ({"index": 0, "size": 8}, r"size must be in \[16, 1024\] pixels, got 8"),
    ],
)
def test_bad_arguments_are_named(arguments, match):
    with pytest.raises(ValueError, match=match):
        render(**arguments)


@pytest.mark.real
@pytest.mark.slow
def test_wnids_are_nouns_of_wordnet(real_data, monkeypatch):
    folder = real_data / "nltk_data"
    if not folder.is_dir():
        pytest.skip(f"no WordNet in {folder}")
    nltk = pytest.importorskip("nltk")
    monkeypatch.setattr(nltk.data, "path", [str(folder)])
    from nltk.corpus import wordnet

    synsets = {c.name: wordnet.synset_from_pos_and_offset("n", int(c.wnid[1:])) for c in CLASSES}
    for name, synset in synsets.items():
        assert name in synset.lemma_names()
    assert synsets["car"].path_similarity(synsets["bus"]) > synsets["car"].path_similarity(synsets["flower"])
    assert synsets["dog"].path_similarity(synsets["cat"]) > synsets["dog"].path_similarity(synsets["fish"])
