"""A finished set is one that ``check`` takes: what it would refuse is never left behind."""

import os
from pathlib import Path

import numpy as np
import pytest
from pictures import picture
from PIL import Image

from lightning_advinterp.data.broden import BrodenError, BrodenWriter, Label, build_set, check_set
from lightning_advinterp.data.broden.command import main

RECIPE = "images: photos\nlabel_size: 8\ncategories:\n  object: {masks: masks, labels: {1: car}}\n"


@pytest.fixture
def recipe(tmp_path):
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(2):
        picture(number, (16, 16)).save(tmp_path / "photos" / f"{number}.png")
        Image.fromarray(np.ones((8, 8), np.uint8)).save(tmp_path / "masks" / f"{number}.png")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "recipe.yaml"


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 255
    path.write_bytes(data)


def rename(folder: Path, name: bytes) -> None:
    os.rename(os.fsencode(folder / "photos/0.png"), os.fsencode(folder / "photos") + b"/" + name)
    os.rename(os.fsencode(folder / "masks/0.png"), os.fsencode(folder / "masks") + b"/" + name)


DAMAGE = {
    "a check sum that the decoder does not look at": (lambda folder: flip(folder / "photos/0.png", -14), "0.png"),
    "a photograph that is cut": (lambda folder: os.truncate(folder / "photos/0.png", 200), "0.png"),
    "another format": (lambda folder: picture(0, (16, 16)).save(folder / "photos/0.png", "TGA"), "0.png"),
    "a separator in a name": (lambda folder: rename(folder, b"a;b.png"), "a;b.png"),
    "a name that is no UTF-8": (lambda folder: rename(folder, b"caf\xe9.png"), "no UTF-8"),
    "a line in a name": (lambda folder: rename(folder, b"a\nb.png"), "control characters"),
    "a table that is no UTF-8": (
        lambda folder: (
            (folder / "recipe.yaml").write_text(RECIPE + "  scene: {whole: w.csv}\n"),
            (folder / "w.csv").write_bytes(b"image,labels\n0.png,caf\xe9\n"),
        ),
        "is not UTF-8",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_what_check_would_refuse_is_not_left_behind(recipe, damage, message, capsys):
    damage(recipe.parent)
    before = set(recipe.parent.iterdir())
    with pytest.raises(SystemExit) as stop:
        main(["build", str(recipe), str(recipe.parent / "set")])
    assert stop.value.code == 1
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert {path for path in recipe.parent.iterdir() if ".lock" not in path.name} == before


def test_what_is_built_is_checked_under_its_own_name(recipe):
    build_set(recipe, recipe.parent / "set")
    check_set(recipe.parent / "set")


def test_a_writer_leaves_no_set_that_check_refuses(tmp_path):
    picture(0, (16, 16)).save(tmp_path / "photo.png")
    flip(tmp_path / "photo.png", -14)
    with (
        pytest.raises(BrodenError, match=f"^'{tmp_path}/set' cannot be used as a set in Broden's format"),
        BrodenWriter(tmp_path / "set", ["object"], [Label(1, "car", ("object",))], (8, 8)) as writer,
    ):
        writer.add("a.png", tmp_path / "photo.png", {"object": np.ones((8, 8), np.int32)})
    assert not (tmp_path / "set").exists()
