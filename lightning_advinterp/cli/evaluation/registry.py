"""The analyses by their names on the command line: what builds each, what it looks at, and what it draws."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lightning_advinterp.analyses import AccuracyAnalysis, PredictionsAnalysis
from lightning_advinterp.analyses.base.brief import (
    Brief,
    curvature_brief,
    distances_brief,
    fragility_brief,
    influence_brief,
    semantics_brief,
)
from lightning_advinterp.analyses.curvature.analysis import CurvatureAnalysis
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.context import Context, Figures
from lightning_advinterp.cli.evaluation.dissection import build_dissection, dissection_figures, dissection_pictures
from lightning_advinterp.cli.evaluation.fragility import build_fragility, fragility_figures
from lightning_advinterp.cli.evaluation.influence import build_influence, influence_figures, influence_images
from lightning_advinterp.cli.evaluation.semantics import (
    build_distances,
    build_panels,
    build_semantics,
    distances_figures,
    panels_figures,
    panels_pictures,
    semantics_figures,
)
from lightning_advinterp.core.result import Result
from lightning_advinterp.report import accuracy_bars

Data = Literal["data", "concepts"]
"""What an analysis looks at: the images of ``--data``, or those of ``--concepts``."""


def _all_images(settings: Evaluation) -> int | None:
    return None


def _none(context: Context) -> int:
    return 0


def _no_figures(analyses: Sequence[Any], results: Mapping[str, Result], context: Context) -> Figures:
    return {}


@dataclass(frozen=True)
class Entry:
    """One name on the command line.

    Attributes:
        build: makes the analyses that it stands for, fresh.
        data: what they look at.
        figures: draws what was found, from all analyses that looked at the same images, and their results.
        limit: how many of the images they are shown at most, where they cost much for each; None for all.
        choose: which of the images they are shown, by their places; None for those of ``limit``.
        uses: flags of the command line that mean something to them, beside those that all share.
        aims: whether they want attacks to choose targets among the images' classes alone.
        pictures: how many of the images the figures need once more at most, attacked as before.
        sections: settings that they read, beside those that all share.
        attacked: whether they look at images under ``--attack``.
        brief: what is printed of them at the end, where it is not a table of several networks.
    """

    build: Callable[[Context], list[Any]]
    data: Data = "data"
    figures: Callable[[Sequence[Any], Mapping[str, Result], Context], Figures] = _no_figures
    limit: Callable[[Evaluation], int | None] = _all_images
    choose: Callable[[Evaluation, Any], list[int]] | None = None
    uses: frozenset[str] = frozenset()
    aims: bool = False
    pictures: Callable[[Context], int] = _none
    sections: frozenset[str] = frozenset()
    attacked: bool = True
    brief: Brief | None = None


def _accuracy_figures(analyses: Sequence[Any], results: Mapping[str, Result], context: Context) -> Figures:
    return {"accuracy": accuracy_bars(results["accuracy"].tables["accuracy"], context.title)}


ANALYSES: dict[str, Entry] = {
    "accuracy": Entry(lambda context: [AccuracyAnalysis(context.attacks)], figures=_accuracy_figures),
    "predictions": Entry(lambda context: [PredictionsAnalysis(context.attacks)]),
    "dissection": Entry(
        build_dissection,
        data="concepts",
        figures=dissection_figures,
        uses=frozenset({"concepts", "layers"}),
        pictures=dissection_pictures,
        sections=frozenset({"dissection"}),
    ),
    "semantics": Entry(
        build_semantics,
        figures=semantics_figures,
        uses=frozenset({"layers"}),
        aims=True,
        sections=frozenset({"semantics", "panels"}),
        brief=semantics_brief,
    ),
    "distances": Entry(
        build_distances,
        figures=distances_figures,
        aims=True,
        sections=frozenset({"semantics"}),
        brief=distances_brief,
    ),
    "panels": Entry(
        build_panels,
        figures=panels_figures,
        uses=frozenset({"layers"}),
        aims=True,
        pictures=panels_pictures,
        sections=frozenset({"semantics", "panels", "patches"}),
    ),
    "curvature": Entry(
        lambda context: [CurvatureAnalysis(replace(context.settings.curvature, seed=context.settings.seed))],
        limit=lambda settings: settings.curvature.limit,
        sections=frozenset({"curvature"}),
        attacked=False,
        brief=curvature_brief,
    ),
    "fragility": Entry(
        build_fragility,
        figures=fragility_figures,
        limit=lambda settings: settings.fragility.limit,
        sections=frozenset({"fragility"}),
        attacked=False,
        brief=fragility_brief,
    ),
    "influence": Entry(
        build_influence,
        figures=influence_figures,
        choose=influence_images,
        sections=frozenset({"influence"}),
        attacked=False,
        brief=influence_brief,
    ),
}
"""Every analysis by its name on the command line."""

PLANNED = (
    "promotion",
    "sensitivity",
    "tracing",
    "detection",
)
"""Names that are reserved for analyses to come."""


def asks_for_all(evaluation: Evaluation) -> bool:
    """Return whether every analysis is asked for that can be done."""
    given = evaluation.analyses.split(",") if isinstance(evaluation.analyses, str) else evaluation.analyses
    return [name.strip() for name in given if name.strip()] == ["all"]


def analysis_names(evaluation: Evaluation, data: Data | None = None) -> list[str]:
    """Return the analyses that an evaluation asks for, or those of them that look at one kind of data.

    Raises:
        ValueError: if a name is unknown, or belongs to a later version.
    """
    given = evaluation.analyses.split(",") if isinstance(evaluation.analyses, str) else evaluation.analyses
    if evaluation.limit is not None and evaluation.limit < 1:
        raise ValueError(f"limit must be 1 or more images, got {evaluation.limit}.")
    names = [name.strip() for name in given if name.strip()]
    if asks_for_all(evaluation):
        names = [name for name, entry in ANALYSES.items() if entry.data == "data" or evaluation.concepts is not None]
    for name in names:
        if name in PLANNED:
            raise ValueError(f"analyses: {name} is not part of this version, which has {', '.join(ANALYSES)}.")
        if name not in ANALYSES:
            raise ValueError(f"analyses must be among {', '.join(ANALYSES)}, or all; got {name!r}.")
    if not names:
        raise ValueError(f"analyses: expected at least one of {', '.join(ANALYSES)}, or all.")
    return [name for name in dict.fromkeys(names) if data in (None, ANALYSES[name].data)]
