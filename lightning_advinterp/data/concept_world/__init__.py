"""The concept world: rendered pictures of named parts, with pixel labels in Broden's six categories."""

from lightning_advinterp.data.concept_world.classes import CLASSES, PARTS, ConceptClass
from lightning_advinterp.data.concept_world.dataset import OFFSETS, ConceptWorld
from lightning_advinterp.data.concept_world.rendering import RENDER_VERSION, Rendering, render, render_image
from lightning_advinterp.data.concept_world.vocabulary import CATEGORIES, CONCEPTS, NUMBER, Concept

__all__ = [
    "CATEGORIES",
    "CLASSES",
    "CONCEPTS",
    "NUMBER",
    "OFFSETS",
    "PARTS",
    "RENDER_VERSION",
    "Concept",
    "ConceptClass",
    "ConceptWorld",
    "Rendering",
    "render",
    "render_image",
]
