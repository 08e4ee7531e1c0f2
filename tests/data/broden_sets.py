"""A small, sound set in Broden's format for tests, written literally (not with the package's writer)."""

import csv
from pathlib import Path

import numpy as np
from pictures import picture
from PIL import Image

CATEGORIES = ("color", "object", "part", "scene")
LABELS = [  # number, name, category cell, frequency, coverage, synonyms; numbers have gaps and pass 255
    (1, "red-c", "color(5)", 5, 2.5, ""),
    (2, "blue-c", "color(5)", 5, 2.5, ""),
    (300, "car", "object(4)", 4, 2.0, "auto;automobile"),
    (301, "door", "part(3);object(1)", 4, 1.5, ""),
    (302, "wheel", "part(3)", 3, 0.5, ""),
    (700, "street-s", "scene(2)", 2, 2.0, ""),
    (65535, "last-s", "scene(1)", 1, 1.0, ""),
]
COVERAGE = {"door": {"part": 0.5, "object": 1.0}}
INDEX = [
    # One layer; two layers; nothing; one image-level label.
    ["a/0.png", "train", "16", "16", "8", "8", "a/0_color.png", "a/0_object.png", "a/0_part_1.png;a/0_part_2.png", ""],
    ["a/1.jpg", "train", "16", "16", "8", "8", "a/1_color.png", "a/1_object.png", "", "700"],
    # Image-level labels and a map in one cell; a 0 and a repetition, as Broden's own writer leaves them.
    ["b/2.png", "val", "20", "16", "8", "8", "b/2_color.png", "", "302;b/2_part.png", "700;0;65535;700"],
    ["b/3.png", "val", "16", "16", "8", "8", "", "", "", "65535"],
    ["b/4.png", "train", "16", "16", "8", "8", "b/4_color.png", "b/4_object.png", "", ""],
]
_RANGE = {"color": (1, 2), "object": (300, 301), "part": (301, 302), "scene": (700, 65535)}


def numbers_of(path: str) -> np.ndarray:
    """The label numbers of a map of the set, ``[8, 8]``: drawn at random from its category and 0."""
    category = next(name for name in CATEGORIES if f"_{name}" in path)
    generator = np.random.default_rng(list(path.encode()))
    return generator.choice([0, *(row[0] for row in LABELS if category in row[2])], (8, 8))


def write_png(path: Path, numbers: np.ndarray) -> None:
    pixels = np.zeros((*numbers.shape, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = numbers % 256, numbers // 256
    pixels[..., 2] = 77  # blue is unused
    Image.fromarray(pixels).save(path)


def write_table(path: Path, header: list[str], rows: list) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write_set(root: Path) -> Path:
    """Write the set; its images are 16 x 16 (one of them 20 x 16), its maps 8 x 8."""
    for folder in ("a", "b"):
        (root / "images" / folder).mkdir(parents=True)
    for number, row in enumerate(INDEX):
        picture(number, (int(row[3]), int(row[2]))).save(root / "images" / row[0])
        for cell in row[6:]:
            for value in cell.split(";"):
                if value.endswith(".png"):
                    write_png(root / "images" / value, numbers_of(value))
    write_table(root / "index.csv", ["image", "split", "ih", "iw", "sh", "sw", *CATEGORIES], INDEX)
    write_table(root / "label.csv", ["number", "name", "category", "frequency", "coverage", "syns"], LABELS)
    rows = [(name, *_RANGE[name], 2, 5) for name in CATEGORIES]
    write_table(root / "category.csv", ["name", "first", "last", "count", "frequency"], rows)
    for name in CATEGORIES:
        labels = [row for row in LABELS if name in row[2]]
        rows = [
            (k, row[0], row[1], row[3], COVERAGE.get(row[1], {}).get(name, row[4])) for k, row in enumerate(labels, 1)
        ]
        write_table(root / f"c_{name}.csv", ["code", "number", "name", "frequency", "coverage"], rows)
    return root
