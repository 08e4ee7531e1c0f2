"""Images with pixel labels of concepts, in the layout of Broden (Bau et al., 2017): read, check, write, build.

``python -m lightning_advinterp.data.broden --help`` checks a set, builds one from folders of masks, and writes the
concept world as one. Names are imported on first use, so that a single tool does not pull in the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_advinterp.data.broden.check import check_set
    from lightning_advinterp.data.broden.concept_set import ConceptSet, check_concepts, open_concepts
    from lightning_advinterp.data.broden.dataset import BrodenDataset
    from lightning_advinterp.data.broden.findings import BrodenError, Finding
    from lightning_advinterp.data.broden.folders import build_set
    from lightning_advinterp.data.broden.maps import Segmentation
    from lightning_advinterp.data.broden.rendered import ConceptWorldConcepts, write_concept_world
    from lightning_advinterp.data.broden.vocabulary import Concept
    from lightning_advinterp.data.broden.writer import BrodenWriter, Label

_HOMES = {
    "BrodenDataset": "dataset",
    "BrodenError": "findings",
    "BrodenWriter": "writer",
    "Concept": "vocabulary",
    "ConceptSet": "concept_set",
    "ConceptWorldConcepts": "rendered",
    "Finding": "findings",
    "Label": "writer",
    "Segmentation": "maps",
    "build_set": "folders",
    "check_concepts": "concept_set",
    "check_set": "check",
    "open_concepts": "concept_set",
    "write_concept_world": "rendered",
}

__all__ = [
    "BrodenDataset",
    "BrodenError",
    "BrodenWriter",
    "Concept",
    "ConceptSet",
    "ConceptWorldConcepts",
    "Finding",
    "Label",
    "Segmentation",
    "build_set",
    "check_concepts",
    "check_set",
    "open_concepts",
    "write_concept_world",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
