"""Influence functions on the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_advinterp.analyses.influence.analysis import InfluenceAnalysis
from lightning_advinterp.analyses.influence.config import InfluenceConfig, choose_images, make_task
from lightning_advinterp.analyses.influence.figures import exemplars_page
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.context import Context, Figures
from lightning_advinterp.core.result import Result


def _config(settings: Evaluation) -> InfluenceConfig:
    return replace(settings.influence, seed=settings.seed)


def influence_images(settings: Evaluation, dataset: Any) -> list[int]:
    """Return the places of the images that are looked at: those of few classes."""
    return choose_images(list(dataset.labels), list(dataset.classes), _config(settings))


def build_influence(context: Context) -> list[Any]:
    """Return the analysis of the images that were chosen."""
    dataset = context.dataset
    numbers = list(dataset.indices)
    labels = dataset.labels if hasattr(dataset, "labels") else [dataset.dataset.labels[number] for number in numbers]
    config = _config(context.settings)
    return [InfluenceAnalysis(config, make_task(labels, numbers, config))]


def influence_figures(analyses: Sequence[Any], results: Mapping[str, Result], context: Context) -> Figures:
    """Draw the page of exemplars."""
    (analysis,) = (one for one in analyses if isinstance(one, InfluenceAnalysis))
    shown = [one for _, one in sorted(analysis.exemplars.items())]
    if not shown:
        return {}
    places = {number: place for place, number in enumerate(context.dataset.indices)}
    wanted = {n for one in shown for found in (one.before, *(last for _, last in one.after.values())) for n in found}
    training: dict[int, NDArray[np.uint8]] = {}
    captions: dict[int, str] = {}
    names = list(context.outputs.names) or list(getattr(context.dataset, "class_names", []))
    for number in wanted:
        sample = context.dataset[places[number]]
        training[number] = np.asarray(sample.image.permute(1, 2, 0))
        label = int(sample.label)
        captions[number] = names[label] if label < len(names) else f"class {label}"
    return {"influence": exemplars_page(shown, training, captions, context.title)}
