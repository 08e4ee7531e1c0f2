"""Every set of this package is an image set, and whatever a user passes becomes one."""

import numpy as np
import pytest
import torch
from helpers import Memory, small_batch
from PIL import Image
from torch.utils.data import ConcatDataset, IterableDataset, Subset, TensorDataset
from torchvision.datasets import FakeData, ImageFolder
from torchvision.transforms import Compose, Normalize, PILToTensor, ToTensor

from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.data.adversarial_set import AdversarialRow, AdversarialSet, AdversarialSetWriter, Manifest
from lightning_advinterp.data.broden import BrodenDataset, ConceptSet, ConceptWorldConcepts, as_concept_set
from lightning_advinterp.data.concept_world import ConceptWorld
from lightning_advinterp.data.image_folder import ImageFolderDataset
from lightning_advinterp.data.images import ImageSet, missing_members
from lightning_advinterp.data.loaders import read_batch
from lightning_advinterp.data.memory_set import MemoryDataset
from lightning_advinterp.data.transforms import EvalTransform
from lightning_advinterp.data.user_images import UserImages, as_image_set


def concept_world():
    return ConceptWorld("val", 9, size=16)


def memory_set():
    images = torch.randint(0, 256, (9, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return MemoryDataset(images, [n % 3 for n in range(9)], indices=[7, 5, 3, 1, 0])


@pytest.fixture
def own_sets(split_folder, tmp_path):
    """One of every kind of set of this package."""
    images = torch.randint(0, 256, (5, 3, 6, 6), dtype=torch.uint8)
    manifest = Manifest("fgsm", 0, {"weights_sha256": "0" * 64}, "abc", 5, 5, (3, 6, 6))
    rows = [AdversarialRow(item, item, item % 3, 1, 1, True, 0.03, 0.5) for item in range(5)]
    AdversarialSetWriter(tmp_path / "adversarial", manifest).write(0, images, rows)
    folder = ImageFolderDataset.from_folder(split_folder, "train", transform=EvalTransform(10, 8))
    concepts = ConceptWorldConcepts(6, size=16)
    return {
        "folder": folder,
        "part of a folder": folder.only([8, 2, 3]),
        "memory": memory_set(),
        "concept world": concept_world(),
        "part of the concept world": concept_world().only([4, 8]),
        "concepts": concepts,
        "part of the concepts": concepts.only([5, 1, 3]),
        "adversarial": AdversarialSet(tmp_path / "adversarial"),
        "user": as_image_set(TensorDataset(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 1, 0]))),
    }


def test_every_set_of_the_package_is_an_image_set(own_sets):
    for name, images in own_sets.items():
        assert missing_members(images) == [], name
        assert as_image_set(images) is images, name


def test_numbers_and_labels_are_those_of_the_items(own_sets):
    for name, images in own_sets.items():
        samples = images.readable(range(len(images)))
        assert [int(sample.index) for sample in samples] == list(images.indices), name
        assert all(int(sample.index) == images.indices[place] for place, sample in enumerate(samples)), name
        if images.labels is not None:
            assert [int(sample.label) for sample in samples] == list(images.labels), name
        assert len(images.classes) == len(images.class_names)
        assert images.bad_images == []
        assert isinstance(images.fingerprint, str), name


def test_a_choice_keeps_numbers_labels_and_pixels(own_sets):
    for name, images in own_sets.items():
        places = images.choice(2, 3)
        assert len(places) == 2 == len(set(places)), name
        part = images.only(places)
        assert list(part.indices) == [images.indices[place] for place in places], name
        assert part.fingerprint != images.fingerprint, name
        assert list(part.classes) == list(images.classes), name
        for place, number in zip(places, part.indices, strict=True):
            assert torch.equal(part[places.index(place)].image, images[place].image), name
            assert part.path_of(number) == images.path_of(number), name
        assert list(part.only([1]).indices) == [images.indices[places[1]]], name


def test_sets_with_labels_of_concepts_say_so(own_sets):
    for name, images in own_sets.items():
        if "concepts" in name:
            assert as_concept_set(images) is images
        else:
            with pytest.raises(ValueError, match=r"has no labels of concepts .*segmentation"):
                as_concept_set(images)
    assert missing_members(BrodenDataset, ConceptSet)[:1] == ["categories"]  # that is set when a set is opened


def test_a_class_with_all_members_is_a_set_as_it_is():
    class Own:
        pass

    members = missing_members(Own())
    assert {"__len__", "__getitem__", "indices", "labels", "path_of", "readable", "only"} <= set(members)
    for name in members:
        setattr(Own, name, None)
    image_set = Own()
    assert missing_members(image_set) == []
    assert as_image_set(image_set) is image_set
    assert set(members) - {"__len__", "__getitem__"} == {name for name in vars(ImageSet) if name[0] != "_"}


class Pairs:
    """The plainest data set: pairs of a float image and a label, which it does not list."""

    def __init__(self, images, labels):
        self.images, self.own = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, place):
        return self.images[place], int(self.own[place])


IMAGES, LABELS = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([2, 0, 1, 1, 0, 2])
KINDS = {
    "pairs": (Pairs(IMAGES, LABELS), None),
    "tensor dataset": (TensorDataset(IMAGES, LABELS), LABELS.tolist()),
    "list of pairs": (list(zip(IMAGES, LABELS.tolist(), strict=True)), LABELS.tolist()),
    "list of images": (list(IMAGES), None),
    "tensor": (IMAGES, None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_data_sets(kind):
    dataset, labels = KINDS[kind]
    images = as_image_set(dataset)
    assert isinstance(images, UserImages)
    assert (list(images.indices), images.labels, len(images)) == (list(range(6)), labels, 6)
    assert torch.equal(torch.stack([sample.image for sample in images.readable(range(6))]), IMAGES)
    unlabelled = kind in ("list of images", "tensor")
    assert [int(images[n].label) for n in range(6)] == ([-1] * 6 if unlabelled else LABELS.tolist())
    assert list(images.only([4, 2]).indices) == [4, 2]
    assert images.fingerprint == as_image_set(dataset).fingerprint


def test_torchvision_says_classes_and_targets(split_folder):
    dataset = ImageFolder(split_folder / "train", transform=PILToTensor())
    images = as_image_set(dataset)
    assert (images.classes, images.labels) == (["cat", "dog"], [0] * 6 + [1] * 6)
    assert torch.equal(images[7].image, dataset[7][0])
    assert images[7].image.dtype == torch.uint8
    turned = as_image_set(ImageFolder(split_folder / "train", target_transform=lambda label: 1 - label))
    assert turned.labels == [1] * 6 + [0] * 6
    pixels = np.asarray(Image.open(turned.dataset.samples[3][0]).convert("RGB"))
    assert torch.equal(turned[3].image, torch.from_numpy(pixels.copy()).permute(2, 0, 1))  # a PIL image is RGB
    fake = as_image_set(FakeData(3, (3, 8, 8), 4, transform=ToTensor()))
    assert fake.labels is None
    assert int(fake[2].label) == int(FakeData(3, (3, 8, 8), 4)[2][1])


def test_a_subset_is_a_choice(own_sets):
    folder = own_sets["folder"]
    part = as_image_set(Subset(Subset(folder, [9, 4, 2]), torch.tensor([2, 0])))
    assert (list(part.indices), list(part.labels)) == ([2, 9], [folder.labels[2], folder.labels[9]])
    assert part.path_of(9) == folder.path_of(9)


def test_numbers_of_items_are_kept():
    batch = small_batch(n=4)
    images = as_image_set(Memory(batch))
    assert list(images.indices) == batch.index.tolist() == [int(images[n].index) for n in range(4)]
    joined = as_image_set(ConcatDataset([Memory(batch), Memory(batch)]))  # both number from 40
    assert list(joined.indices) == list(range(8)) == [int(joined[n].index) for n in range(8)]
    twice = as_image_set(Memory(batch._replace(index=torch.tensor([1, 2, 2, 3]))))
    with pytest.raises(RunStoppedError, match="two images have the same number"):
        _ = twice.indices


def wrong(image=None, label=0):
    return [(torch.rand(3, 4, 4) if image is None else image, label)]


WRONG = {
    "normalised": (wrong(torch.randn(3, 4, 4) * 2), "must lie in \\[0, 1\\]: leave Normalize out"),
    "0 to 255 as floats": (wrong(torch.full((3, 4, 4), 200.0)), "from 200 to 200"),
    "an array": (wrong(np.zeros((4, 4, 3), np.uint8)), "got ndarray; give the data set a transform"),
    "whole numbers": (wrong(torch.zeros(3, 4, 4, dtype=torch.int64)), "torch.int64 of shape \\[3, 4, 4\\]"),
    "a batch": (wrong(torch.rand(2, 3, 4, 4)), "shape \\[2, 3, 4, 4\\]"),
    "one-hot": ([[torch.rand(3, 4, 4), torch.eye(3)[0]]], "integer, got a tensor of shape \\[3\\]"),
    "soft": (wrong(label=0.5), "label must be an integer, got 0.5"),
    "a dictionary": ([{"image": torch.rand(3, 4, 4)}], "got dict"),
    "four parts": ([(1, 2, 3, 4)], "fewer of these, got 4"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_image_is_refused(kind):
    dataset, message = WRONG[kind]
    with pytest.raises(RunStoppedError, match=message):
        _ = as_image_set(dataset)[0]


def test_a_normalising_transform_is_refused(split_folder):
    transform = Compose([ToTensor(), Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
    images = as_image_set(ImageFolder(split_folder / "train", transform=transform))
    with pytest.raises(RunStoppedError, match="the network normalises by itself"):
        _ = images[0]


def test_images_of_several_sizes_make_no_batch():
    images = as_image_set([torch.rand(3, 4, 4), torch.rand(3, 4, 5)])
    with pytest.raises(RunStoppedError, match=r"must have one size, got 3x4x4 \(image 0\), 3x4x5 \(image 1\)"):
        read_batch(images, [0, 1])


def test_labels_that_contradict_the_items_are_refused():
    dataset = Pairs(IMAGES, LABELS)
    dataset.targets = [0] * 6
    with pytest.raises(RunStoppedError, match="at place 0 has the label 2, but 0 among the labels"):
        _ = as_image_set(dataset)[0]


def test_numbers_that_contradict_the_items_are_refused():
    dataset = Memory(small_batch(n=4))
    dataset.indices = [1, 2, 3, 4]
    with pytest.raises(RunStoppedError, match="has the number 40, but 1 in its data set's indices"):
        _ = as_image_set(dataset)[0]


def test_a_stream_is_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            yield torch.rand(3, 4, 4), 0

    for stream in (Stream(), iter([1]), 7):
        with pytest.raises(TypeError, match="has a length and numbered items"):
            as_image_set(stream)
