"""The YAML file that says how folders of images and masks become a set in Broden's format."""

import csv
import io
import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lightning_advinterp.core.reading import read_text
from lightning_advinterp.core.yaml_files import load_yaml
from lightning_advinterp.data.broden.vocabulary import LARGEST
from lightning_advinterp.data.broden.writer import Label
from lightning_advinterp.data.concept_world.vocabulary import COLOR_NAMES

EXAMPLE = """\
images: photos              # folder, at any depth; paths are relative to this file
size: 224                   # images become size x size, squashed; left out: they stay as they are
label_size: 112             # maps are label_size x label_size (nearest neighbour)
val_share: 0.3              # this share of the images is split val, by a hash of the path
colors: true                # adds category color: the basic colour name of every pixel
categories:
  object:
    masks: masks/object     # photos/a/1.jpg has masks/object/a/1.png; a list of folders: several layers
    labels: {1: car, 2: person, 255: null}    # grey or palette value to name; null and 0: unlabelled
  part:
    masks: masks/part
    labels: {"#ff0000": wheel, "#00ff00": door}    # masks of mode RGB: colour to name
  scene:
    whole: scenes.csv       # columns image (as in a/1.jpg) and labels (names, separated by ;)
"""
"""A recipe with every key."""

COLOR = "color"
_KEYS = {"images", "size", "label_size", "val_share", "colors", "categories"}
_HEX = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class CategoryRecipe:
    """Where the labels of one category come from.

    Attributes:
        masks: one folder for each layer.
        labels: value in a mask (red · 65,536 + green · 256 + blue for masks of mode RGB) to label number; 0 = none.
        whole: table of image-level labels.
    """

    masks: tuple[Path, ...]
    labels: dict[int, int]
    whole: Path | None


@dataclass(frozen=True)
class Recipe:
    """How to build a set.

    Attributes:
        images: folder of the images.
        size: side of the stored images in pixels; None: as they are.
        label_size: side of the maps in pixels.
        val_share: share of the images in split val.
        colors: add category color.
        categories: by name.
        labels: all labels, numbered in the order in which the recipe names them; a name has one number, whatever its
            categories.
    """

    images: Path
    size: int | None
    label_size: int
    val_share: float
    colors: bool
    categories: dict[str, CategoryRecipe]
    labels: tuple[Label, ...]

    @property
    def numbers(self) -> dict[str, int]:
        """Label number by name."""
        return {label.name: label.number for label in self.labels}


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe; :data:`EXAMPLE` shows every key.

    Raises:
        FileNotFoundError: the file, or a folder or table that it names, is missing.
        ValueError: naming the file, the key, what was expected and what came.
    """
    path = Path(path)
    try:
        content = load_yaml(path, _UniqueKeys)
    except FileNotFoundError:
        raise FileNotFoundError(f"no recipe at {str(path)!r}; it is a YAML file such as\n{EXAMPLE}") from None
    return _Reader(path).recipe(content)


class _UniqueKeys(yaml.SafeLoader):
    """YAML whose later keys do not silently replace earlier ones."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                line = node.start_mark.line + 1
                raise yaml.YAMLError(f"key {key!r} stands twice in the mapping that starts in line {line}")
        return super().construct_mapping(node, deep)


class _Reader:
    """Turns what YAML gave into a recipe, with errors that name the key."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.categories_of: dict[str, list[str]] = {}

    def error(self, key: str, expected: str, value: object) -> ValueError:
        return ValueError(f"{self.path}: {key}: expected {expected}, got {value!r}")

    def recipe(self, content: Any) -> Recipe:
        if not isinstance(content, dict) or not isinstance(content.get("categories"), dict) or "images" not in content:
            raise ValueError(f"{self.path}: expected a mapping with images and categories, for instance\n{EXAMPLE}")
        if unknown := set(content) - _KEYS:
            raise self.error(", ".join(map(str, unknown)), f"only the keys {', '.join(sorted(_KEYS))}", content)
        size = None if content.get("size") is None else self._pixels("size", content["size"])
        share = content.get("val_share", 0.3)
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise self.error("val_share", "a share from 0 to 1", share)
        colors = content.get("colors", False)
        if not isinstance(colors, bool):
            raise self.error("colors", "true or false", colors)
        if colors:
            self.categories_of = {f"{name}-c": [COLOR] for name in COLOR_NAMES}
        if colors and COLOR in content["categories"]:
            raise self.error("categories", "no category color beside colors: true", COLOR)
        for name, category in content["categories"].items():
            self._name_labels(name, category)
        if not self.categories_of:
            raise self.error("categories", "labels or image-level labels", content["categories"])
        if len(self.categories_of) > LARGEST:
            raise self.error("categories", f"at most {LARGEST} labels", len(self.categories_of))
        numbers = {name: number for number, name in enumerate(self.categories_of, start=1)}
        return Recipe(
            self._folder("images", content["images"]),
            size,
            self._pixels("label_size", content.get("label_size", 112)),
            float(share),
            colors,
            {name: self._category(name, category, numbers) for name, category in content["categories"].items()},
            tuple(Label(numbers[name], name, tuple(categories)) for name, categories in self.categories_of.items()),
        )

    def _name_labels(self, category: Any, content: Any) -> None:
        """Collect the label names of one category."""
        if not isinstance(category, str) or not re.fullmatch(r"[\w-]+", category):
            raise self.error("categories", "names of letters, digits, - and _", category)
        key = f"categories.{category}"
        if not isinstance(content, dict) or not content or set(content) - {"masks", "labels", "whole"}:
            raise self.error(key, "masks and labels, or whole, or all three", content)
        if ("masks" in content) != ("labels" in content):
            raise self.error(key, "masks and labels together", content)
        if not isinstance(content.get("labels", {}), dict):
            raise self.error(f"{key}.labels", "a mapping of mask values to names", content["labels"])
        names = [name for name in content.get("labels", {}).values() if name is not None]
        if "whole" in content:
            table = self._existing(f"{key}.whole", content["whole"])
            names += [name for _, _, names_of_image in read_whole(table) for name in names_of_image]
        for name in names:
            if not isinstance(name, str) or not name:
                raise self.error(f"{key}.labels", "names (quote yes, no, on, off and numbers) or null", name)
            names_of_image = self.categories_of.setdefault(name, [])
            if category not in names_of_image:
                names_of_image.append(category)

    def _category(self, name: str, content: dict[str, Any], numbers: dict[str, int]) -> CategoryRecipe:
        key = f"categories.{name}"
        folders = content.get("masks", [])
        folders = folders if isinstance(folders, list) else [folders]
        labels = {
            self._value(f"{key}.labels", value): 0 if label is None else numbers[label]
            for value, label in content.get("labels", {}).items()
        }
        if len(labels) < len(content.get("labels", {})):
            raise self.error(f"{key}.labels", "different mask values", list(content["labels"]))
        return CategoryRecipe(
            tuple(self._folder(f"{key}.masks", folder) for folder in folders),
            {0: 0} | labels,
            self._existing(f"{key}.whole", content["whole"]) if "whole" in content else None,
        )

    def _value(self, key: str, value: Any) -> int:
        if isinstance(value, str) and _HEX.fullmatch(value):
            return int(value[1:], 16)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST:
            raise self.error(key, f'mask values from 0 to {LARGEST}, or colours such as "#ff0000"', value)
        return value

    def _pixels(self, key: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.error(key, "a number of pixels from 1", value)
        return value

    def _existing(self, key: str, value: Any) -> Path:
        if not isinstance(value, str):
            raise self.error(key, "a path", value)
        path = self.path.parent / value
        if not path.exists():
            raise FileNotFoundError(f"{self.path}: {key}: nothing at {str(path)!r} (paths are relative to the recipe)")
        return path

    def _folder(self, key: str, value: Any) -> Path:
        path = self._existing(key, value)
        if not path.is_dir():
            raise self.error(key, "a folder", value)
        return path


def read_whole(path: Path) -> list[tuple[int, str, list[str]]]:
    """Read a table of image-level labels: line, image and label names of each row.

    Raises:
        ValueError: naming the file, the row and what was expected.
    """
    rows = []
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        if set(reader.fieldnames or ()) != {"image", "labels"}:
            raise ValueError(f"{path}, row 1: expected columns image, labels, got {reader.fieldnames}")
        for row in reader:
            image, labels = row["image"], row["labels"]
            if None in row or not image or not labels or not all(labels.split(";")):
                expected = "expected an image and label names separated by ;"
                raise ValueError(f"{path}, row {reader.line_num}: {expected}, got {list(row.values())}")
            rows.append((reader.line_num, image, labels.split(";")))
    except csv.Error as error:
        raise ValueError(f"{path}, row {reader.line_num}: is not CSV: {error}") from None
    return rows
