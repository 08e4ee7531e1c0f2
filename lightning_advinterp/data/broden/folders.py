"""Build a set in Broden's format from folders of images and masks."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from lightning_advinterp.data.broden.dataset import BrodenDataset
from lightning_advinterp.data.broden.findings import Findings
from lightning_advinterp.data.broden.recipe import COLOR, CategoryRecipe, Recipe, read_recipe, read_whole
from lightning_advinterp.data.broden.writer import BrodenWriter
from lightning_advinterp.data.concept_world.palette import name_colors
from lightning_advinterp.data.decode import BadImageError, open_image, to_rgb
from lightning_advinterp.data.listing import EXTENSIONS

Labels = NDArray[np.int32]

_COPIED = (".jpg", ".jpeg", ".png")
_GREY = ("1", "L", "P", "I", "I;16")


def build_set(recipe: str | Path, root: str | Path, *, progress: bool = False) -> BrodenDataset:
    """Build a set and open it.

    Args:
        recipe: YAML file; :data:`~lightning_advinterp.data.broden.recipe.EXAMPLE` shows every key.
        root: folder to make; it must not exist or be empty, and appears only if all went well.
        progress: show a progress bar.

    Raises:
        FileNotFoundError: the recipe, or what it names, is missing.
        FileExistsError: ``root`` holds something.
        ValueError: the recipe is wrong; names the key.
        BrodenError: images, masks or tables are wrong; lists all findings with their files.
    """
    plan, findings = read_recipe(recipe), Findings()
    images = [path for path in _files(plan.images) if os.path.splitext(path)[1].lower() in EXTENSIONS]
    if not images:
        findings.add(str(plan.images), None, None, f"holds no image ({', '.join(sorted(EXTENSIONS))})")
    whole_labels = {name: _whole(plan, category, set(images), findings) for name, category in plan.categories.items()}
    for category in plan.categories.values():
        _check_masks(category, images, findings)
    findings.check(f"{str(recipe)!r} cannot be built")
    names = ([COLOR] if plan.colors else []) + list(plan.categories)
    with BrodenWriter(root, names, plan.labels, (plan.label_size, plan.label_size)) as writer:
        for path in track(images, "building the set", disable=not progress, transient=True):
            try:
                numbers = {name: labels[path] for name, labels in whole_labels.items() if path in labels}
                _add(writer, plan, path, numbers, findings)
            except ValueError as error:  # an unreadable image, or a name that is taken
                findings.add(str(plan.images / path), None, None, str(error))
        findings.check(f"{str(recipe)!r} cannot be built")
    return BrodenDataset(root, size=1)  # no image is resized here; a size lets sets of mixed sizes pass


def _add(writer: BrodenWriter, plan: Recipe, path: str, whole_labels: dict[str, list[int]], findings: Findings) -> None:
    """Write one image; what is wrong with its masks goes to the findings."""
    with open_image(plan.images / path) as opened:
        image = to_rgb(opened)
    maps: dict[str, Labels] = {}
    for name, category in plan.categories.items():
        files = [file for folder in category.masks if (file := folder / _mask_name(path)).exists()]
        if files:
            maps[name] = np.stack([_read_mask(file, category, image.size, plan.label_size, findings) for file in files])
    if plan.colors:
        small = image.resize((plan.label_size, plan.label_size), Image.Resampling.BILINEAR)
        maps[COLOR] = name_colors(np.asarray(small)).astype(np.int32)
    split, stem, ending = _split(path, plan.val_share), *os.path.splitext(path)
    if plan.size is not None and image.size != (plan.size, plan.size):
        image = image.resize((plan.size, plan.size), Image.Resampling.BILINEAR)
    elif ending.lower() in _COPIED:
        return writer.add(path, plan.images / path, maps, whole_labels, split=split)
    path = path if ending.lower() in _COPIED else f"{stem}.png"
    return writer.add(path, image, maps, whole_labels, split=split)


def _read_mask(path: Path, category: CategoryRecipe, size: tuple[int, int], side: int, findings: Findings) -> Labels:
    """Return the label numbers of a mask, ``[side, side]``, by nearest neighbour."""
    nothing = np.zeros((side, side), np.int32)
    try:
        with open_image(path) as mask:
            mask.load()
            if mask.size not in (size, (side, side)):
                expected = f"expected the image's {size[0]} x {size[1]} pixels, or {side} x {side}"
                findings.add(str(path), None, None, f"{expected}, got {mask.size[0]} x {mask.size[1]}")
                return nothing
            if mask.mode not in (*_GREY, "RGB", "RGBA"):
                findings.add(str(path), None, None, f"expected a grey, palette or RGB image, got mode {mask.mode}")
                return nothing
            values = _values(mask)
    except (BadImageError, OSError, SyntaxError) as error:
        findings.add(str(path), None, None, f"cannot be read: {error.__cause__ or error}")
        return nothing
    known, place = np.unique(values, return_inverse=True)
    for value in known.tolist():
        if value not in category.labels:
            shown = f"value {value}" if mask.mode in _GREY else f'colour "#{value:06x}"'
            pixels = int((values == value).sum())
            findings.add(str(path), None, None, f"{shown} ({pixels} pixels) is not under labels; name it, or say null")
    numbers = np.array([category.labels.get(value, 0) for value in known.tolist()], np.int32)
    return np.asarray(
        Image.fromarray(numbers[place].reshape(values.shape)).resize((side, side), Image.Resampling.NEAREST)
    )


def _values(mask: Image.Image) -> Labels:
    """Return one integer for each pixel: its grey, its place in the palette, or its colour."""
    pixels = np.asarray(mask).astype(np.int32)
    if mask.mode in _GREY:
        return pixels
    return (pixels[..., 0] << 16) | (pixels[..., 1] << 8) | pixels[..., 2]


def _whole(plan: Recipe, category: CategoryRecipe, images: set[str], findings: Findings) -> dict[str, list[int]]:
    """Return the image-level label numbers of the images that have any."""
    labels: dict[str, list[int]] = {}
    if category.whole is None:
        return labels
    for line, image, names in read_whole(category.whole):
        if image not in images:
            findings.add(str(category.whole), line, "image", f"no image {image!r} in {str(plan.images)!r}")
        if image in labels:
            findings.add(str(category.whole), line, "image", f"{image!r} stands in an earlier row already")
        labels[image] = [plan.numbers[name] for name in names]
    return labels


def _check_masks(category: CategoryRecipe, images: list[str], findings: Findings) -> None:
    """Report masks that belong to no image: a name that is misspelt loses its labels silently otherwise."""
    names = {_mask_name(path) for path in images}
    for folder in category.masks:
        for path in _files(folder):
            if path not in names:
                findings.add(str(folder / path), None, None, "belongs to no image; expected PATH.png for PATH.jpg")


def _files(folder: Path) -> Iterator[str]:
    """Yield the paths of all files below a folder, in a fixed order, without hidden ones."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    yield from sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))


def _mask_name(path: str) -> str:
    return os.path.splitext(path)[0] + ".png"


def _split(path: str, val_share: float) -> str:
    draw = int.from_bytes(hashlib.sha256(path.encode(errors="surrogateescape")).digest()[:8]) / 2**64
    return "val" if draw < val_share else "train"
