"""Folders become the outputs that their names say, in any spelling."""

import random

import pytest

from lightning_advinterp.data.cifar_classes import CLASS_NAMES, WNIDS
from lightning_advinterp.data.class_labels import Outputs, imagenet_outputs, map_labels
from lightning_advinterp.data.class_spelling import plain_spelling
from lightning_advinterp.taxonomy.wnid import wnid_in

TENCH, GOLDFISH, TOILET_TISSUE = "n01440764", "n01443537", "n15075141"
PETS = Outputs(["cat", "dog", "great white shark"], ["cat", "dog", "great white shark"])


@pytest.mark.parametrize(
    "spell",
    [
        str,
        "{:03d}".format,
        "{:04d}".format,
        "class_{}".format,
        "Class{:04d}".format,
        "label-{}".format,
        "{}_thing".format,
        "{:03d}.Some_Bird".format,
        "{} - thing".format,
    ],
)
@pytest.mark.parametrize("outputs", [None, 120])
def test_numbers_say_their_place(spell, outputs):
    """In string order, 10 comes before 2."""
    names = {spell(place): place for place in range(120)}
    folders = sorted(names)
    mapping = map_labels(folders, outputs)
    assert mapping.labels == [names[folder] for folder in folders]
    assert (mapping.order, mapping.classes[names[folders[-1]]]) == ("numbers", folders[-1])


def test_numbers_from_one():
    folders = sorted(map(str, range(1, 13)))
    assert map_labels(folders, 12).labels == map_labels(folders).labels == [int(folder) - 1 for folder in folders]
    with pytest.raises(ValueError, match="may count from 0 or from 1; rename them so that folder k holds"):
        map_labels(folders, 20)


def test_some_of_the_numbers():
    mapping = map_labels(["10", "2", "999"], 1000)
    assert (mapping.labels, len(mapping.classes), mapping.order) == ([10, 2, 999], 1000, "numbers")
    years = map_labels(["1999", "2024", "300"])  # no places, but an order
    assert (years.labels, years.classes, years.order) == ([1, 2, 0], ["300", "1999", "2024"], "sorted")
    assert map_labels(["737_Boeing", "747_Boeing"], 2).order == "sorted"
    with pytest.raises(ValueError, match="class folders 01, 1 say the same number; rename or merge"):
        map_labels(["01", "1", "2"], 3)


@pytest.mark.parametrize("outputs", [Outputs((), ()), imagenet_outputs()])
@pytest.mark.parametrize(
    "spell",
    [
        "{0}".format,
        "{0}_{1}".format,
        "{1} ({0})".format,
        "{0}-{1}".format,
        lambda wnid, name: wnid.upper(),
        lambda wnid, name: f"{wnid.upper()}_{name.upper()}",
        lambda wnid, name: name,
        lambda wnid, name: name.upper().replace(" ", "_"),
        lambda wnid, name: name.replace(" ", "-"),
        lambda wnid, name: f"{name}, of some kind",
    ],
)
def test_imagenets_classes_in_any_spelling(spell, outputs):
    imagenet = imagenet_outputs()
    places = random.Random(0).sample(range(1000), 40)
    names = {spell(imagenet.classes[place], imagenet.names[place]): place for place in places}
    mapping = map_labels(sorted(names), 1000, outputs)
    assert mapping.labels == [names[name] for name in sorted(names)]
    assert (mapping.classes, mapping.order) == (imagenet.classes, "names")


@pytest.mark.parametrize("names", [["Cat", "DOG"], ["0", "1"], ["000", "001"], ["class_0", "class_1"]])
def test_named_outputs_in_any_spelling(names):
    assert map_labels(names, 3, PETS).labels == [0, 1]
    assert map_labels(["Great_White-Shark"], 3, PETS).labels == [2]


@pytest.mark.parametrize("spell", ["{}_{}", "{:03d}.{}", "{} - {}"])
def test_the_name_behind_a_number_decides(spell):
    """The numbers may be another set's: 0_dog is no cat."""
    folders = [spell.format(*pair) for pair in ((0, "dog"), (1, "Cat"))]
    labels = {"Cat": PETS.names.index("cat"), "dog": PETS.names.index("dog")}
    assert map_labels(folders, 3, PETS).labels == [labels["dog"], labels["Cat"]]


@pytest.mark.parametrize("outputs", [None, imagenet_outputs()])
@pytest.mark.parametrize("first", [0, 1])
def test_numbers_that_agree_with_the_names_decide_between_homonyms(outputs, first):
    places = [107, 207, 264, 307]  # 264 is the Cardigan, a dog; 474 the cardigan
    names = [imagenet_outputs().names[place].partition(",")[0] for place in places]
    folders = [f"{place + first}_{name}" for place, name in zip(places, names, strict=True)]
    mapping = map_labels(folders, 1000, outputs)
    assert (mapping.labels, mapping.order) == (places, "names")


@pytest.mark.parametrize("names", [["cat", "cow"], ["0", "cat"], ["7", "8"], ["n01440764", "dog"]])
def test_what_no_output_is_called_is_refused(names):
    with pytest.raises(ValueError, match="the network knows 3 classes"):
        map_labels(names, 3, PETS)


def test_a_wnid_finds_an_output_that_is_named_without():
    outputs = Outputs(["goldfish", "tench"], ["goldfish", "tench"])
    assert map_labels([TENCH, f"{GOLDFISH}_fish"], 2, outputs).labels == [1, 0]


def test_exact_names_come_first():
    """A run whose folders were numbered took them in string order, and its checkpoint says so."""
    recorded = sorted(map(str, range(12)))
    assert map_labels(["10", "2"], 12, Outputs(recorded, recorded)).labels == [2, 4]
    twins = Outputs([f"{TENCH}_old", f"{TENCH}_new"], ["old", "new"])
    assert map_labels([f"{TENCH}_new"], 2, twins).labels == [1]


def test_a_checkpoint_may_record_bytes_that_are_no_utf8():
    recorded = ["caf\udce9", "tea"]
    assert map_labels(["caf\\xe9"], 2, Outputs(recorded, recorded)).labels == [0]


def test_training_names_its_classes_by_their_wnids():
    mapping = map_labels([f"{GOLDFISH}_x", f"{TOILET_TISSUE.upper()}", "other"])
    assert mapping.classes == [GOLDFISH, TOILET_TISSUE, "other"]
    assert mapping.names == ["goldfish", "toilet tissue", "other"]
    twins = [f"{GOLDFISH}_a", f"{GOLDFISH}_b"]
    assert map_labels(twins).classes == twins


def test_cifar10s_names_in_any_spelling():
    names = [name.capitalize() for name in CLASS_NAMES]
    for outputs in (None, 10):
        mapping = map_labels(names, outputs)
        assert (mapping.labels, mapping.classes, mapping.order) == (list(range(10)), list(WNIDS), "names")


def test_words_alone_say_nothing():
    assert map_labels(["ape", "bee"], 2).order == "sorted"
    assert map_labels(["ape", "bee"], 2).describe(["ape", "bee"]) == (
        "labels by the sorted order of the class folders: ape = 0, bee = 1"
    )


def test_spellings():
    assert wnid_in("n01440764") == wnid_in("N01440764_x") == wnid_in("a n01440764") == "n01440764"
    assert wnid_in("xn01440764") is wnid_in("n014407645") is wnid_in("n01440764 n01443537") is None
    assert plain_spelling(" Polar_Bear ") == plain_spelling("polar-bear") == "polar bear"
