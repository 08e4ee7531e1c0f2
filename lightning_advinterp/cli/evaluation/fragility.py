"""Fragility of explanations on the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lightning_advinterp.analyses.fragility.analysis import FragilityAnalysis
from lightning_advinterp.analyses.fragility.figures import fragility_convergence, fragility_curves, fragility_panels
from lightning_advinterp.cli.evaluation.context import Context, Figures
from lightning_advinterp.core.result import Result


def build_fragility(context: Context) -> list[Any]:
    """Return the analysis; its attacks are its own."""
    return [FragilityAnalysis(replace(context.settings.fragility, seed=context.settings.seed))]


def fragility_figures(analyses: Sequence[Any], results: Mapping[str, Result], context: Context) -> Figures:
    """Draw the measures over ε, the attacks' courses, and images with their maps."""
    tables = results["fragility"].tables
    if not tables["fragility"]:
        return {}
    figures = {"fragility": fragility_curves(tables["fragility_summary"], context.title)}
    if tables["fragility_convergence"]:
        figures["fragility_convergence"] = fragility_convergence(tables["fragility_convergence"], context.title)
    (analysis,) = (one for one in analyses if isinstance(one, FragilityAnalysis))
    panels = fragility_panels(analysis.state, analysis.cases, context.title)
    return figures | {f"fragility_{method}": figure for method, figure in panels.items()}
