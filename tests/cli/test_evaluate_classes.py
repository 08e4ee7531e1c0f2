"""What the outputs of a foreign network are called: the folders' names, the weights, or a flag say it."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.inputs import load_images, load_subject
from lightning_advinterp.cli.evaluation.outputs import read_outputs
from lightning_advinterp.networks import create_network


@pytest.fixture
def foreign(tmp_path: Path):
    """A function from folder names to the labels of a foreign network with 12 outputs, or as many as said."""

    def labels(names: list[str], outputs: int = 12, **flags) -> dict[str, int]:
        for name in names:
            (tmp_path / "data" / name).mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(tmp_path / "data" / name / "1.png")
        weights = tmp_path / "weights.pth"
        torch.save(create_network("cifar_resnet20", num_classes=outputs).backbone.state_dict(), weights)
        evaluation = Evaluation(network="cifar_resnet20", weights=str(weights), data=str(tmp_path / "data"), **flags)
        images = load_images(evaluation, load_subject(evaluation)).reported
        return {path.split("/")[0]: label for path, label in zip(images.paths, images.labels, strict=True)}

    return labels


def test_numbers_are_places(foreign):
    names = list(map(str, range(12)))
    assert foreign(names) == {name: int(name) for name in names}


def test_words_are_refused_with_the_remedy(foreign):
    with pytest.raises(ValueError, match=r"whose names are unknown; name the folders .* --classes folders if the sor"):
        foreign([f"{letter}x" for letter in "abcdefghijkl"])


def test_words_are_taken_in_their_order_where_that_is_said(foreign):
    assert foreign(["bx", "ax"], outputs=2, classes="folders") == {"ax": 0, "bx": 1}


def test_fewer_words_than_outputs_have_no_order(foreign):
    with pytest.raises(ValueError, match=r"2 class folders .* 12 outputs .* --classes FILE"):
        foreign(["ax", "bx"], classes="folders")


def test_a_file_names_the_outputs(foreign, tmp_path):
    (tmp_path / "names.txt").write_text("bee\nape\nn01440764 tench, Tinca tinca\n")
    labels = foreign(["Ape", "bee", "tench"], outputs=3, classes=str(tmp_path / "names.txt"))
    assert labels == {"Ape": 1, "bee": 0, "tench": 2}


@pytest.mark.parametrize(("outputs", "names"), [(10, ["cat", "truck"]), (10, ["0", "7"])])
def test_a_set_names_the_outputs(foreign, outputs, names):
    expected = {"cat": 3, "truck": 9, "0": 0, "7": 7}
    assert foreign(names, outputs=outputs, classes="cifar10") == {name: expected[name] for name in names}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\n", "names 2 classes, the network has 3 outputs"),
        (b"a\n\nb\n", "line 2 of .* is empty"),
        (b"a\nb\na\n", "but a stand more than once"),
        (b"", "it is empty"),
        (b"\xff\xfe\x00", "is not UTF-8"),
    ],
)
def test_files_that_name_no_outputs(foreign, tmp_path, content, message):
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        foreign(["a"], outputs=3, classes=str(tmp_path / "names.txt"))


def test_no_such_file(foreign):
    with pytest.raises(FileNotFoundError, match=r"classes: no file .absent\.txt.; give a text file .* or folders"):
        foreign(["a"], classes="absent.txt")


def test_synset_words(tmp_path):
    (tmp_path / "words.txt").write_text("n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\n")
    outputs = read_outputs(tmp_path / "words.txt")
    assert outputs.classes == ["n01440764", "n01443537"]
    assert outputs.names == ["tench, Tinca tinca", "goldfish, Carassius auratus"]
