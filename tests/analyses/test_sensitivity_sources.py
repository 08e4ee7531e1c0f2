"""Where a dissection comes from, which images it may not share, and which concepts are near which classes."""

from types import SimpleNamespace

import nltk
import pytest
import torch
from broden_sets import write_set
from PIL import Image

from lightning_advinterp.analyses.base.question import Scene
from lightning_advinterp.analyses.registry import complete_settings
from lightning_advinterp.analyses.semantics.question import Semantics
from lightning_advinterp.analyses.sensitivity.config import SensitivityConfig
from lightning_advinterp.analyses.sensitivity.interpretability import shared_images, unit_concepts
from lightning_advinterp.analyses.sensitivity.meanings import class_meanings
from lightning_advinterp.analyses.sensitivity.sources import dissection_before, known_concepts
from lightning_advinterp.core.result import REAL, Result
from lightning_advinterp.data.broden import BrodenDataset, ConceptWorldConcepts
from lightning_advinterp.data.class_labels import Outputs
from lightning_advinterp.data.concept_world import CLASSES, ConceptWorld
from lightning_advinterp.data.image_folder import ImageFolderDataset
from lightning_advinterp.networks import create_network
from lightning_advinterp.taxonomy.graph import Taxonomy


def scene_of(images, concepts, network=None, results=None):
    outputs = Outputs([entry.wnid for entry in CLASSES], [entry.name for entry in CLASSES])
    network = network or create_network("cifar_resnet20", num_classes=len(CLASSES), input_size=16).eval()
    return Scene(network, outputs, {}, images, complete_settings({}), concepts=concepts, found=results or {})


def test_pictures_of_the_same_world_are_shared_by_their_numbers():
    chosen = ConceptWorld("test", 12, size=16).only([3, 5, 8])
    assert shared_images(chosen, ConceptWorldConcepts(6, size=16)) == {3: 3, 5: 5}
    assert shared_images(ConceptWorld("val", 12, size=16), ConceptWorldConcepts(6, size=16)) == {}
    assert shared_images(ConceptWorld("test", 12, size=16, seed=1), ConceptWorldConcepts(6, size=16)) == {}


def test_files_are_shared_by_where_they_lie(tmp_path):
    """Also through a link: the data are a folder of links into the set."""
    write_set(tmp_path / "broden")
    concepts = BrodenDataset(tmp_path / "broden", size=16)
    folder = tmp_path / "data" / "n02084071"
    folder.mkdir(parents=True)
    (folder / "a.png").symlink_to(concepts.file(concepts.path_of(2)))
    Image.new("RGB", (20, 20)).save(folder / "b.png")
    data = ImageFolderDataset.from_folder(str(tmp_path / "data"))
    assert shared_images(data, concepts) == {0: 2}


def test_shared_images_are_dissected_or_attacked_and_never_both():
    images, concepts = ConceptWorld("test", 40, size=16), ConceptWorldConcepts(60, size=16)
    scene = scene_of(images, concepts)
    earlier = dissection_before(SensitivityConfig(), scene)
    dissected = set(earlier.images.indices)
    assert dissected >= set(range(40, 60)), "those that are not attacked are dissected all"
    assert 5 < len(dissected & set(range(40))) < 35
    row = {"images": REAL, "layer": "layer3", "unit": 0, "iou": 0.5, "label": "c", "category": "object"}
    results = {"sensitivity": Result("sensitivity", tables={"dissection": [row]})}
    dissection = known_concepts(SensitivityConfig(), scene_of(images, concepts, scene.network, results))
    assert dissection.images == dissected & set(range(40))
    assert dissection.concepts["layer3", 0].detects


def test_a_dissection_of_the_same_command_is_not_made_again_where_it_suffices():
    images, concepts = ConceptWorld("val", 8, size=16), ConceptWorldConcepts(8, size=16)
    rows = [
        {"images": REAL, "layer": layer, "unit": 0, "iou": 0.01, "label": None, "category": None}
        for layer in ("layer2", "layer3")
    ]
    results = {"dissection": Result("dissection", tables={"dissection": rows})}
    scene = scene_of(images, concepts, results=results)
    assert dissection_before(SensitivityConfig(layers=("layer2", "layer3")), scene) is None
    assert dissection_before(SensitivityConfig(layers=("layer1", "layer3")), scene) is not None
    same = scene_of(ConceptWorld("test", 8, size=16), concepts, results=results)
    assert dissection_before(SensitivityConfig(layers=("layer3",)), same) is not None, "its images are attacked too"


def test_a_unit_detects_from_the_threshold_on():
    row = {"images": REAL, "layer": "a", "label": "dog", "category": "object"}
    rows = [
        row | {"unit": 0, "iou": 0.04},
        row | {"unit": 1, "iou": 0.0399},
        row | {"unit": 2, "iou": 0, "label": None},
    ]
    concepts = unit_concepts([*rows, row | {"unit": 0, "iou": 0.9, "images": "fgsm"}], 0.04)
    assert [concepts["a", unit].detects for unit in range(3)] == [True, False, False]
    assert concepts["a", 0].iou == 0.04


def test_classes_are_near_their_kin_and_concepts_near_their_kinds(monkeypatch):
    """WordNet by hand: n02084071 dog, n02121620 cat (siblings once removed), n02958343 car, n04490091 truck."""
    senses = {"dog": "n02084071", "animal": "n00015388", "car": "n02958343"}
    monkeypatch.setattr(
        "lightning_advinterp.taxonomy.corpus.senses",
        lambda name: [SimpleNamespace(wnid=senses[name])] if name in senses else [],
    )
    classes = ["n02084071", "n02099601", "n02958343", "n04490091"]  # dog, golden retriever, car, truck
    parents = {
        **{"n02084071": ("n00015388",), "n02099601": ("r",), "r": ("s",), "s": ("t",), "t": ("n02084071",)},
        **{"n02958343": ("m",), "n04490091": ("m",), "m": ("top",), "n00015388": ("top",), "top": ()},
    }
    monkeypatch.setattr("lightning_advinterp.taxonomy.corpus.nouns_above", lambda wnids: Taxonomy(parents))
    network = create_network("cifar_resnet20", num_classes=4, input_size=16)
    images = SimpleNamespace(labels=None, classes=[], class_names=[])
    scene = Scene(network, Outputs(classes, ["dog", "retriever", "car", "truck"]), {}, images, {})
    meanings = class_meanings(Semantics(), scene, 2, ["dog", "animal", "car-c", "qwert"])
    assert meanings.names == ("dog", "retriever", "car", "truck")
    assert meanings.near[2].tolist() == [False, False, True, True]  # car and truck have one parent
    assert torch.equal(meanings.near, meanings.near.T)
    assert set(meanings.concepts) == {"dog", "animal", "car-c"}
    assert meanings.concepts["dog"].tolist() == [True, True, False, False], "a retriever is a dog, four edges below"
    assert meanings.concepts["animal"].tolist() == [True, True, False, False]
    assert meanings.concepts["car-c"].tolist() == [False, False, True, True]


@pytest.mark.slow
@pytest.mark.real
def test_brodens_names_have_senses(real_data, monkeypatch):
    monkeypatch.setattr(nltk.data, "path", [str(real_data / "nltk_data"), *nltk.data.path])
    images, concepts = ConceptWorld("val", 8, size=16), ConceptWorldConcepts(8, size=16)
    meanings = class_meanings(Semantics(), scene_of(images, concepts), 2, ["dog", "grass", "street-s", "qwert"])
    names = list(meanings.names)
    assert meanings.concepts["dog"][names.index("dog")]
    assert not meanings.concepts["grass"][names.index("dog")]
    assert "qwert" not in meanings.concepts
