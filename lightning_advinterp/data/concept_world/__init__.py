"""The concept world: rendered pictures of named parts, with pixel labels in Broden's six categories.

Names are imported on first use, so that rendering helpers start without torch and Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_advinterp.data.concept_world.classes import CLASSES, PARTS, ConceptClass
    from lightning_advinterp.data.concept_world.dataset import OFFSETS, ConceptWorld
    from lightning_advinterp.data.concept_world.module import ConceptWorldDataModule
    from lightning_advinterp.data.concept_world.rendering import (
        RENDER_VERSION,
        Rendering,
        render,
        render_image,
    )
    from lightning_advinterp.data.concept_world.vocabulary import CATEGORIES, CONCEPTS, NUMBER, Concept

_HOMES = {
    "CATEGORIES": "vocabulary",
    "CLASSES": "classes",
    "CONCEPTS": "vocabulary",
    "Concept": "vocabulary",
    "ConceptClass": "classes",
    "ConceptWorld": "dataset",
    "ConceptWorldDataModule": "module",
    "NUMBER": "vocabulary",
    "OFFSETS": "dataset",
    "PARTS": "classes",
    "RENDER_VERSION": "rendering",
    "Rendering": "rendering",
    "render": "rendering",
    "render_image": "rendering",
}

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
    "ConceptWorldDataModule",
    "Rendering",
    "render",
    "render_image",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
