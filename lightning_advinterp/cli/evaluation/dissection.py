"""Dissection on the command line: the analysis, the images of its units, and its figures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lightning_advinterp.analyses.base.unit_images import UnitImages
from lightning_advinterp.analyses.dissection.analysis import DissectionAnalysis
from lightning_advinterp.analyses.dissection.figures import best_units, category_bars, depth_profile, detector_panel
from lightning_advinterp.analyses.dissection.pictures import detector_pictures
from lightning_advinterp.cli.evaluation.context import Context, Figures
from lightning_advinterp.core.result import Result

UNITS, IMAGES = 8, 8
"""So many detectors are shown in the figure, and so many images of each."""


def build_dissection(context: Context) -> list[Any]:
    """Return the dissection, and what keeps the images of its units."""
    settings = context.settings
    config = replace(settings.dissection, seed=settings.seed)
    if settings.layers is not None:
        given = settings.layers.split(",") if isinstance(settings.layers, str) else settings.layers
        config = replace(config, layers=tuple(name.strip() for name in given))
    images = UnitImages(context.attacks, config.layers, IMAGES, name="dissection_images")
    return [DissectionAnalysis(context.dataset, context.attacks, config), images]


def dissection_pictures(context: Context) -> int:
    """Return how many images the detectors' figure needs once more at most."""
    return UNITS * IMAGES * (1 + len(context.attacks))


def dissection_figures(analyses: Sequence[Any], results: Mapping[str, Result], context: Context) -> Figures:
    """Draw the bars of Table 1, the course over depth where there is one, and the best detectors' images."""
    tables = results["dissection"].tables
    summary = tables["dissection_summary"]
    figures = {"dissection": category_bars(summary, context.title)}
    if len({row["layer"] for row in summary}) > 1:
        figures["dissection_depth"] = depth_profile(summary, context.title)
    (images,) = (one for one in analyses if isinstance(one, UnitImages))
    best = best_units(tables["dissection"], UNITS)
    if best:
        shown = detector_pictures(
            context.network, context.dataset, context.attacks, tables["dissection"], best, images, **context.runner
        )
        figures["dissection_units"] = detector_panel(shown, context.title)
    return figures
