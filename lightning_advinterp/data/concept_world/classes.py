"""The twelve classes of the concept world, as WordNet nouns.

Four families (animals, vehicles, things people make for the home, plants) give near relatives and far
strangers, so that a semantic distance between two classes means something: car and truck are 2 edges apart in
WordNet, dog and cat 4, dog and bird 5, dog and fish 6, car and bus 7 (which look alike all the same), dog and
flower 8, dog and car 12.
"""

from typing import NamedTuple


class ConceptClass(NamedTuple):
    """One class.

    Attributes:
        wnid: WordNet 3.0 noun offset, as ImageNet writes it (``n02084071``).
        name: English noun; also the name of the concept in category ``object``.
    """

    wnid: str
    name: str


CLASSES: tuple[ConceptClass, ...] = (
    ConceptClass("n01503061", "bird"),
    ConceptClass("n02084071", "dog"),
    ConceptClass("n02121620", "cat"),
    ConceptClass("n02512053", "fish"),
    ConceptClass("n02691156", "airplane"),
    ConceptClass("n02924116", "bus"),
    ConceptClass("n02958343", "car"),
    ConceptClass("n03001627", "chair"),
    ConceptClass("n03544360", "house"),
    ConceptClass("n04398044", "teapot"),
    ConceptClass("n04490091", "truck"),
    ConceptClass("n11669921", "flower"),
)
"""All classes, sorted by wnid: a class index is a position in this table."""

PARTS: dict[str, tuple[str, ...]] = {
    "bird": ("torso", "head", "wing", "tail", "beak", "eye", "leg"),
    "dog": ("torso", "head", "ear", "eye", "muzzle", "leg", "tail"),
    "cat": ("torso", "head", "ear", "eye", "muzzle", "leg", "tail"),
    "fish": ("torso", "head", "fin", "tail", "eye"),
    "airplane": ("body", "wing", "fin", "tail", "window", "engine", "wheel"),
    "bus": ("body", "roof", "window", "door", "wheel", "headlight"),
    "car": ("body", "roof", "window", "door", "wheel", "headlight"),
    "chair": ("back", "seat", "leg", "armrest"),
    "house": ("wall", "roof", "window", "door", "chimney", "handle"),
    "teapot": ("body", "handle", "spout", "lid"),
    "truck": ("body", "cab", "window", "door", "wheel", "headlight"),
    "flower": ("petal", "disc", "stem", "leaf", "pot"),
}
"""Named parts that a drawing of the class may show (bystanders carry parts too, see ``props.py``)."""

MATERIALS: dict[str, tuple[str, ...]] = {
    "bird": ("feather", "fabric", "wood"),
    "dog": ("fur", "fabric", "wood"),
    "cat": ("fur", "fabric", "ceramic"),
    "fish": ("skin", "fabric", "wood"),
    "airplane": ("metal", "plastic", "wood"),
    "bus": ("metal", "plastic", "wood"),
    "car": ("metal", "plastic", "wood"),
    "chair": ("wood", "plastic", "fabric"),
    "house": ("brick", "wood", "stone"),
    "teapot": ("ceramic", "metal", "plastic"),
    "truck": ("metal", "plastic", "wood"),
    "flower": ("foliage", "fabric", "plastic"),
}
"""What the main surface of a class may be made of; most materials serve several classes and scenes."""
