"""Images with pixel labels of concepts, in the layout of Broden (Bau et al., 2017): read, check, write, build.

``python -m lightning_advinterp.data.broden --help`` checks a set, builds one from folders of masks, and writes the
concept world as one.
"""

from lightning_advinterp.data.broden.check import check_set
from lightning_advinterp.data.broden.concept_set import ConceptSet, as_concept_set, check_concepts, open_concepts
from lightning_advinterp.data.broden.dataset import BrodenDataset
from lightning_advinterp.data.broden.findings import BrodenError, Finding
from lightning_advinterp.data.broden.folders import build_set
from lightning_advinterp.data.broden.maps import Segmentation
from lightning_advinterp.data.broden.rendered import ConceptWorldConcepts, write_concept_world
from lightning_advinterp.data.broden.vocabulary import Concept
from lightning_advinterp.data.broden.writer import BrodenWriter, Label

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
    "as_concept_set",
    "build_set",
    "check_concepts",
    "check_set",
    "open_concepts",
    "write_concept_world",
]
