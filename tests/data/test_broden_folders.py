from pathlib import Path

import numpy as np
import pytest
from pictures import picture
from PIL import Image

from lightning_advinterp.data.broden import BrodenDataset, BrodenError, build_set
from lightning_advinterp.data.broden.recipe import EXAMPLE, read_recipe
from lightning_advinterp.data.concept_world.palette import name_colors
from lightning_advinterp.data.concept_world.vocabulary import COLOR_NAMES

RECIPE = """\
images: photos
label_size: 8
val_share: 0.5
categories:
  object:
    masks: masks/object
    labels: {1: car, 2: house, 255: null}
  part:
    masks: [masks/part, masks/more]
    labels: {"#ff0000": wheel, "#00FF00": door, 3: house}
  scene:
    whole: scenes.csv
"""
CAR, HOUSE, WHEEL, DOOR, STREET, NIGHT = range(1, 7)


def colored(values: np.ndarray) -> Image.Image:
    """0: black, 1: red, 2: green."""
    return Image.fromarray(np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)[values])


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, (16, 16)).astype(np.uint8)


@pytest.fixture
def recipe(tmp_path: Path, values: np.ndarray) -> Path:
    """Three images, 16 x 16; masks of two kinds, in two layers, for some of them."""
    for folder in ("photos/a", "masks/object/a", "masks/part/a", "masks/more"):
        (tmp_path / folder).mkdir(parents=True)
    for k, name in enumerate(("a/1.jpg", "a/2.png", "3.bmp")):
        picture(k, (16, 16)).save(tmp_path / "photos" / name)
    Image.fromarray(values).save(tmp_path / "masks/object/a/1.png")
    palette = Image.fromarray(np.where(values == 2, 255, values), "P")
    palette.putpalette(bytes(range(256)) * 3)
    palette.save(tmp_path / "masks/object/a/2.png")
    colored(values).save(tmp_path / "masks/part/a/2.png")
    colored(values).save(tmp_path / "masks/part/3.png")
    Image.fromarray(np.full((8, 8), 3, np.uint8)).save(tmp_path / "masks/more/3.png")
    (tmp_path / "scenes.csv").write_text("image,labels\na/1.jpg,street-s;night-s\n3.bmp,street-s\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "recipe.yaml"


def nearest(numbers: np.ndarray) -> np.ndarray:
    """Every map pixel shows the mask pixel that its centre falls on: of 16 onto 8, the second of each pair."""
    return numbers[1::2, 1::2]


def test_a_set_is_built(recipe: Path, values: np.ndarray, tmp_path: Path):
    data = build_set(recipe, tmp_path / "set")
    assert (data.categories, data.label_size) == (("object", "part", "scene"), (8, 8))
    assert [data.path_of(i) for i in range(3)] == ["3.png", "a/1.jpg", "a/2.png"]
    names = {number: concept.name for number, concept in data.concepts.items()}
    assert names == {1: "car", 2: "house", 3: "wheel", 4: "door", 5: "street-s", 6: "night-s"}
    third, first, second = (data.segmentation(i) for i in range(3))
    assert (third.whole, first.whole, second.whole) == ({2: (STREET,)}, {2: (STREET, NIGHT)}, {})
    part = nearest(np.array([0, WHEEL, DOOR])[values])
    np.testing.assert_array_equal(first.maps[0], nearest(np.array([0, CAR, HOUSE])[values])[None])
    np.testing.assert_array_equal(second.maps[0], nearest(np.array([0, CAR, 0])[values])[None])
    np.testing.assert_array_equal(second.maps[1], part[None])
    np.testing.assert_array_equal(third.maps[1], np.stack([part, np.full((8, 8), HOUSE)]))
    assert (first.maps.keys(), second.maps.keys(), third.maps.keys()) == ({0}, {0, 1}, {1})
    # Images that need no change are copied; others are encoded without loss.
    assert (tmp_path / "set/images/a/1.jpg").read_bytes() == (tmp_path / "photos/a/1.jpg").read_bytes()
    np.testing.assert_array_equal(BrodenDataset(tmp_path / "set")[0].image.permute(1, 2, 0), picture(2, (16, 16)))


def test_sizes_and_colors(recipe: Path, tmp_path: Path):
    recipe.write_text("size: 12\ncolors: true\n" + RECIPE)
    data = build_set(recipe, tmp_path / "set")
    assert data.categories[0] == "color"
    assert [data.concepts[k].name for k in range(1, 12)] == [f"{name}-c" for name in COLOR_NAMES]
    assert BrodenDataset(tmp_path / "set")[1].image.shape == (3, 12, 12)
    with Image.open(tmp_path / "photos/a/2.png") as image:
        expected = name_colors(np.asarray(image.resize((8, 8), Image.Resampling.BILINEAR)))
    np.testing.assert_array_equal(data.segmentation(2).maps[0][0], expected)


def test_splits_depend_on_the_path_alone(recipe: Path, tmp_path: Path):
    first = [row.split for row in build_set(recipe, tmp_path / "set").rows]
    for k in range(40):
        picture(k, (16, 16)).save(tmp_path / f"photos/more{k}.png")
    rows = build_set(recipe, tmp_path / "larger").rows
    old = [row.split for row in rows if not row.image.startswith("more")]
    assert old == first
    assert 10 <= sum(row.split == "val" for row in rows) <= 33  # of 43, half on average
    recipe.write_text(RECIPE.replace("0.5", "1.0"))
    assert {row.split for row in build_set(recipe, tmp_path / "val").rows} == {"val"}


def wrong(recipe: Path, tmp_path: Path, *findings: str) -> None:
    with pytest.raises(BrodenError) as caught:
        build_set(recipe, tmp_path / "set")
    assert caught.value.count == len(findings), caught.value
    for text in findings:
        assert any(text in str(finding).replace(f"{tmp_path}/", "") for finding in caught.value.findings), caught.value
    assert not (tmp_path / "set").exists()


def test_all_that_is_wrong_with_images_and_masks_is_told_at_once(recipe: Path, tmp_path: Path):
    Image.fromarray(np.full((16, 16), 9, np.uint8)).save(tmp_path / "masks/object/a/1.png")
    Image.fromarray(np.zeros((5, 16), np.uint8)).save(tmp_path / "masks/object/a/2.png")
    Image.new("RGB", (16, 16), (0, 0, 255)).save(tmp_path / "masks/part/a/2.png")
    (tmp_path / "masks/part/3.png").write_bytes(b"no mask")
    Image.new("CMYK", (16, 16)).save(tmp_path / "masks/more/3.png", "TIFF")
    (tmp_path / "photos/a/4.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((32, 40), np.uint8)).save(tmp_path / "masks/object/a/1.png")
    wrong(
        recipe,
        tmp_path,
        "masks/object/a/1.png: expected the image's 16 x 16 pixels, or 8 x 8, got 40 x 32",
        "masks/object/a/2.png: expected the image's 16 x 16 pixels, or 8 x 8, got 16 x 5",
        'masks/part/a/2.png: colour "#0000ff" (256 pixels) is not under labels; name it, or say null',
        "masks/part/3.png: cannot be read: cannot identify image file",
        "masks/more/3.png: expected a grey, palette or RGB image, got mode CMYK",
        "photos/a/4.png: cannot read image",
    )


def test_two_images_that_share_a_mask(recipe: Path, tmp_path: Path):
    picture(0, (16, 16)).save(tmp_path / "photos/a/1.png")
    wrong(recipe, tmp_path, "photos/a/1.png: path: 'images/a/1_object.png' has been written already")


def test_values_without_a_name(recipe: Path, tmp_path: Path):
    Image.fromarray(np.array([[7] * 16] + [[1] * 16] * 15, np.uint8)).save(tmp_path / "masks/object/a/1.png")
    wrong(recipe, tmp_path, "masks/object/a/1.png: value 7 (16 pixels) is not under labels; name it, or say null")


def test_masks_and_rows_that_belong_to_no_image(recipe: Path, tmp_path: Path):
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / "masks/object/a/one.png")
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / "masks/object/a/1.jpg")
    (tmp_path / "scenes.csv").write_text("image,labels\na/1.jpg,street-s\na/1.jpg,street-s\nb.jpg,street-s\n")
    wrong(
        recipe,
        tmp_path,
        "masks/object/a/one.png: belongs to no image; expected PATH.png for PATH.jpg",
        "masks/object/a/1.jpg: belongs to no image",
        "scenes.csv, row 3, column image: 'a/1.jpg' stands in an earlier row already",
        "scenes.csv, row 4, column image: no image 'b.jpg' in",
    )


def test_no_images(recipe: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    recipe.write_text("images: empty\ncategories:\n  object: {masks: empty, labels: {1: car}}\n")
    wrong(recipe, tmp_path, "empty: holds no image (.avif, .bmp, .gif, ")


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("images: photos", "", ValueError, "expected a mapping with images and categories, for instance\n"),
        ("images: photos", "images: photo", FileNotFoundError, "images: nothing at '.*photo' .paths are relative"),
        ("images: photos", "images: scenes.csv", ValueError, "images: expected a folder, got 'scenes.csv'"),
        ("images: photos", "images: [photos]", ValueError, "images: expected a path"),
        ("images: photos", "image: x\nimages: photos", ValueError, "image: expected only the keys categories, colors"),
        ("images: photos", "images: photos\nsize: 0", ValueError, "size: expected a number of pixels from 1, got 0"),
        ("label_size: 8", "label_size: big", ValueError, "label_size: expected a number of pixels from 1, got 'big'"),
        ("val_share: 0.5", "val_share: 30", ValueError, "val_share: expected a share from 0 to 1, got 30"),
        ("val_share: 0.5", "colors: 1", ValueError, "colors: expected true or false, got 1"),
        ("val_share: 0.5", "label_size: 9", ValueError, "is not plain YAML: key 'label_size' stands twice"),
        ("1: car", "1: car, 1: bus", ValueError, "key '1' stands twice in the mapping that starts in line 7"),
        ("1: car", "1.5: car", ValueError, "categories.object.labels: expected mask values from 0 to 65535"),
        ("1: car", "'#ff': car", ValueError, "categories.object.labels: .*colours such as .#ff0000., got '#ff'"),
        ("1: car", "1: yes", ValueError, "expected names .quote yes, no, on, off and numbers. or null, got True"),
        ("{1: car, 2: house, 255: null}", "[car]", ValueError, "labels: expected a mapping of mask values to names"),
        ("    masks: masks/object\n", "", ValueError, "categories.object: expected masks and labels together"),
        ("masks/object", "masks/objects", FileNotFoundError, "categories.object.masks: nothing at"),
        ("  object:", "  ../object:", ValueError, "categories: expected names of letters, digits, - and _, got"),
        ("    whole:", "    file:", ValueError, "categories.scene: expected masks and labels, or whole, or all three"),
        ("whole: scenes.csv", "whole: nowhere.csv", FileNotFoundError, "categories.scene.whole: nothing at"),
        ("images: photos", "images: [", ValueError, "is not YAML"),
    ],
)  # fmt: skip
def test_recipes_that_are_wrong(recipe: Path, tmp_path: Path, old: str, new: str, error: type, message: str):
    assert RECIPE.count(old) == 1
    recipe.write_text(RECIPE.replace(old, new))
    with pytest.raises(error, match=f"recipe.yaml: .*{message}"):
        build_set(recipe, tmp_path / "set")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,label\na/1.jpg,x\n", r"scenes.csv, row 1: expected columns image, labels, got \['image', 'label'\]"),
        ("image,labels\na/1.jpg,x\n3.bmp,\n", r"scenes.csv, row 3: expected an image and label names separated by ;"),
        ("image,labels\na/1.jpg,x;;y\n", r"scenes.csv, row 2: expected an image and label names separated by ;"),
        ("image,labels\na/1.jpg,x,y\n", r"scenes.csv, row 2: expected an image and label names separated by ;"),
    ],
)
def test_tables_that_are_wrong(recipe: Path, tmp_path: Path, text: str, message: str):
    (tmp_path / "scenes.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        build_set(recipe, tmp_path / "set")


def test_colors_are_not_named_twice(recipe: Path):
    recipe.write_text("colors: true\n" + RECIPE.replace("object:", "color:", 1))
    with pytest.raises(ValueError, match="categories: expected no category color beside colors: true"):
        read_recipe(recipe)


def test_no_recipe(tmp_path: Path):
    with pytest.raises(
        FileNotFoundError, match=r"no recipe at '.*absent.yaml'; it is a YAML file such as\nimages: photos"
    ):
        read_recipe(tmp_path / "absent.yaml")


def test_the_example_can_be_used(tmp_path: Path):
    assert EXAMPLE in (Path(__file__).parents[2] / "docs" / "broden.md").read_text()
    for folder in ("photos/a", "masks/object/a", "masks/part"):
        (tmp_path / folder).mkdir(parents=True)
    picture(0, (300, 200)).save(tmp_path / "photos/a/1.jpg")
    Image.fromarray(np.full((200, 300), 255, np.uint8)).save(tmp_path / "masks/object/a/1.png")
    (tmp_path / "scenes.csv").write_text("image,labels\na/1.jpg,street-s\n")
    (tmp_path / "recipe.yaml").write_text(EXAMPLE)
    data = build_set(tmp_path / "recipe.yaml", tmp_path / "set")
    assert data.rows[0].size == (224, 224)
    assert data.segmentation(0).maps.keys() == {0}
    assert data.segmentation(0).whole == {3: (max(data.concepts),)}
