"""The label vocabulary: every concept of the concept world with its global number, as Broden numbers them."""

from typing import NamedTuple

from lightning_advinterp.data.concept_world.classes import CLASSES, PARTS

CATEGORIES: tuple[str, ...] = ("color", "texture", "material", "scene", "part", "object")
"""The six categories of Broden."""

COLOR_NAMES: tuple[str, ...] = (
    "black", "blue", "brown", "green", "grey", "orange", "pink", "purple", "red", "white", "yellow",
)  # fmt: skip
"""The eleven basic colour terms, without the suffix ``-c`` of their concepts."""

SCENE_NAMES: tuple[str, ...] = (
    "beach", "desert", "forest", "kitchen", "living_room", "meadow", "snowfield", "street", "underwater",
)  # fmt: skip
"""Places, without the suffix ``-s`` of their concepts."""

TEXTURE_NAMES: tuple[str, ...] = (
    "chequered", "dotted", "flecked", "grid", "marbled", "striped", "woven", "zigzagged",
)  # fmt: skip

MATERIAL_NAMES: tuple[str, ...] = (
    "asphalt", "brick", "ceramic", "fabric", "feather", "foliage", "fur", "glass", "metal", "painted",
    "plastic", "rubber", "sand", "skin", "sky", "snow", "soil", "stone", "water", "wood",
)  # fmt: skip

BYSTANDER_NAMES: tuple[str, ...] = (
    "ball", "building", "bush", "cloud", "crate", "cup", "floor", "ground", "lamp", "mountain", "picture",
    "road", "rock", "sea", "seaweed", "sky", "sun", "table", "tree", "wall", "watering_can", "windowpane",
)  # fmt: skip
"""Objects that are no class: the stage and its clutter."""

BYSTANDER_PARTS: tuple[str, ...] = (
    "body",
    "crown",
    "frame",
    "handle",
    "leaf",
    "lid",
    "spout",
    "stem",
    "trunk",
)


class Concept(NamedTuple):
    """One label.

    Attributes:
        number: global number, from 1; 0 means unlabelled.
        name: colour names end in ``-c``, scene names in ``-s``.
        category: one of :data:`CATEGORIES`.
    """

    number: int
    name: str
    category: str


def _enumerate_concepts() -> tuple[Concept, ...]:
    parts = sorted({part for names in PARTS.values() for part in names} | set(BYSTANDER_PARTS))
    names = {
        "color": [f"{name}-c" for name in COLOR_NAMES],
        "texture": list(TEXTURE_NAMES),
        "material": list(MATERIAL_NAMES),
        "scene": [f"{name}-s" for name in SCENE_NAMES],
        "part": parts,
        "object": sorted({c.name for c in CLASSES} | set(BYSTANDER_NAMES)),
    }
    pairs = [(name, category) for category in CATEGORIES for name in names[category]]
    return tuple(Concept(number, name, category) for number, (name, category) in enumerate(pairs, start=1))


CONCEPTS: tuple[Concept, ...] = _enumerate_concepts()
"""All concepts in order of their numbers."""

NUMBER: dict[tuple[str, str], int] = {(c.category, c.name): c.number for c in CONCEPTS}
"""Number of a concept by ``(category, name)``; numbers are unique over all categories."""
