"""Where a network's dissection comes from: a stored one, one of the same command, or one made for the purpose.

Overlaps with concepts and changes under attack are taken from different images. Images that lie in both sets are
shared out at random: one half is dissected, and changes of the other half are held against that.
"""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lightning_advinterp.analyses.base.question import Earlier, Scene
from lightning_advinterp.analyses.dissection.analysis import DissectionAnalysis
from lightning_advinterp.analyses.dissection.config import DissectionConfig
from lightning_advinterp.analyses.sensitivity.config import SensitivityConfig
from lightning_advinterp.analyses.sensitivity.interpretability import UnitConcept, shared_images, unit_concepts
from lightning_advinterp.analyses.tracing.concepts import stored_dissection
from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.core.result import REAL
from lightning_advinterp.data.broden import open_concepts
from lightning_advinterp.data.broden.concept_set import as_concept_set
from lightning_advinterp.report.store import read_record
from lightning_advinterp.units.spaces import unit_layers

logger = logging.getLogger(__name__)

NAME = "sensitivity"
_SHARED_SEED = 0x73686172  # "shar"


class Dissected(NamedTuple):
    """What is known of the units' concepts.

    Attributes:
        concepts: layer and unit to what dissection says; None where there is none.
        images: numbers of the attacked images from which that is known too.
        origin: where it comes from, for the provenance; empty where there is none.
    """

    concepts: dict[tuple[str, int], UnitConcept] | None
    images: frozenset[int]
    origin: dict[str, Any]


def dissection_before(config: SensitivityConfig, scene: Scene) -> Earlier | None:
    """Return the dissection that must be made before; None where there is one, or there are no concept images."""
    if config.dissection is not None or scene.concepts is None or _answered(config, scene):
        return None
    # Of the shared images, those whose changes are held against concepts are not dissected.
    attacked = {
        concept_number
        for image_number, concept_number in _shared(scene).items()
        if image_number not in _dissected(scene)
    }
    concepts = as_concept_set(scene.concepts)
    if attacked:
        concepts = concepts.only(
            [place for place, concept_number in enumerate(concepts.indices) if concept_number not in attacked]
        )
    settings = scene.questions["dissection"]
    # One control is the least that dissection takes, and shuffled labels need no forward pass.
    counting = DissectionConfig(
        layers=scene.layers_or(config.layers),
        quantile=settings.quantile,
        exact=settings.exact,
        rule=settings.rule,
        iou=settings.iou,
        controls=("shuffled",),
        noise=False,
        replicates=0,
        seed=scene.seed,
    )
    return Earlier(concepts, (DissectionAnalysis(concepts, {}, counting),))


def known_concepts(config: SensitivityConfig, scene: Scene) -> Dissected:
    """Return what is known of the units' concepts.

    Raises:
        ValueError: if a stored dissection is none of this network.
    """
    threshold = scene.questions["dissection"].iou
    if config.dissection is not None:
        rows = stored_dissection(config.dissection, scene.network, "sensitivity.dissection").tables["dissection"]
        record = read_record(Path(config.dissection)) or {}
        origin = {"folder": config.dissection, "concepts": record["provenance"].get("concepts")}
        return Dissected(unit_concepts(rows, threshold), _stored_images(record, config.dissection, scene), origin)
    if NAME in scene.found:
        dissection, images = scene.found[NAME], _dissected(scene)
        return Dissected(unit_concepts(dissection.tables["dissection"], threshold), images, dict(dissection.provenance))
    if _answered(config, scene):
        dissection = scene.found["dissection"]
        return Dissected(
            unit_concepts(dissection.tables["dissection"], threshold), frozenset(), dict(dissection.provenance)
        )
    return Dissected(None, frozenset(), {})


def _stored_images(record: dict[str, Any], folder: str, scene: Scene) -> frozenset[int]:
    """Return the images that a stored dissection may have seen: all that lie in its set."""
    origin = record.get("provenance", {})
    place, count = origin.get("settings", {}).get("concepts"), origin.get("concepts", {}).get("images")
    try:
        concepts = open_concepts(str(place), scene.network.input_size, n=int(count or 1))
    except (OSError, ValueError):
        logger.warning(
            "sensitivity: the images of the dissection in %s are not at %s; whether some of them are attacked here is "
            "not known.",
            folder,
            place,
        )
        return frozenset()
    return frozenset(shared_images(scene.images, concepts))


def _answered(config: SensitivityConfig, scene: Scene) -> bool:
    """Whether the same command has dissected all these layers, on other images than those attacked."""
    if "dissection" not in scene.found or _shared(scene):
        return False
    layers = {row["layer"] for row in scene.found["dissection"].tables["dissection"] if row["images"] == REAL}
    return {unit.layer for unit in unit_layers(scene.network, scene.layers_or(config.layers))} <= layers


def _shared(scene: Scene) -> dict[int, int]:
    return {} if scene.concepts is None else shared_images(scene.images, scene.concepts)


def _dissected(scene: Scene) -> frozenset[int]:
    """Return the numbers of the attacked images that are dissected: a random half of those in both sets."""
    numbers = list(_shared(scene))
    drawn = sample_keys(torch.tensor(numbers, dtype=torch.int64), seed=_SHARED_SEED + scene.seed) & 1
    return frozenset(number for number, bit in zip(numbers, drawn.tolist(), strict=True) if bit)
