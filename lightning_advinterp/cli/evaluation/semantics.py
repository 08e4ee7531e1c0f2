"""Semantics, distances and panels on the command line."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_advinterp.analyses.base.classes import aim_within
from lightning_advinterp.analyses.distances.analysis import DistancesAnalysis
from lightning_advinterp.analyses.panels.analysis import check_units, chosen_units, unit_rows
from lightning_advinterp.analyses.panels.figures import meaning_panel
from lightning_advinterp.analyses.panels.patches import PatchesAnalysis
from lightning_advinterp.analyses.semantics.analysis import SemanticsAnalysis
from lightning_advinterp.analyses.semantics.figures import by_success, curve, depth, ratio_histogram, scatter
from lightning_advinterp.cli.evaluation.context import Context, Figures
from lightning_advinterp.core.result import Result
from lightning_advinterp.metrics.semantics import ClassSpace


def _classes(context: Context) -> ClassSpace:
    """Return the classes that are compared; attacks choose their targets among them from now on."""
    classes = list(context.outputs.classes) or list(getattr(context.dataset, "classes", []))
    names = list(context.outputs.names) or list(getattr(context.dataset, "class_names", []))
    if len(classes) != context.network.num_classes:
        raise ValueError(
            f"data: what the {context.network.num_classes} outputs of {context.title} are called is unknown "
            f"({len(classes)} names); semantics needs images in folders named by wnids, or a checkpoint that knows."
        )
    space = context.settings.semantics.classes(classes, names, context.dataset)
    aim_within(context.attacks, space, context.network.num_classes)
    return space


def build_semantics(context: Context) -> list[Any]:
    """Return the analysis of units' meanings."""
    settings = context.settings
    config = settings.semantics
    return [
        SemanticsAnalysis(
            context.attacks,
            classes=_classes(context),
            layers=config.layers if settings.layers is None else settings.layers,
            share=config.share,
            reduce=config.reduce,
            show=settings.panels.images,
            sample=config.sample,
            by_success=config.by_success,
            seed=settings.seed,
        )
    ]


def build_panels(context: Context) -> list[Any]:
    """Return what panels are drawn from: the analysis of units' meanings, unless it runs anyway, and top patches."""
    settings = context.settings
    layers = "last" if settings.layers is None else settings.layers
    patches = PatchesAnalysis(context.dataset, layers, settings.patches, settings.seed)
    check_units(
        context.network, settings.semantics.layers if settings.layers is None else settings.layers, settings.panels
    )
    return [patches] if "semantics" in context.names else [*build_semantics(context), patches]


def build_distances(context: Context) -> list[Any]:
    """Return the analysis of distances in feature space."""
    settings = context.settings
    return [
        DistancesAnalysis(context.attacks, classes=_classes(context), pool=settings.semantics.pool, seed=settings.seed)
    ]


def panels_pictures(context: Context) -> int:
    """Return how many images the panels need once more at most."""
    panels = context.settings.panels
    return panels.layers * (len(panels.units) or 2 * panels.count) * panels.images * (1 + len(context.attacks))


def semantics_figures(analyses: Sequence[Any], results: Mapping[str, Result], context: Context) -> Figures:
    """Draw the curve, the profile over depth and the scatter of CS1 and CS2."""
    tables = results["semantics"].tables
    figures = {"semantics_depth": depth(tables["semantics_layers"], context.title)}
    if tables["semantics_curve"]:
        figures["semantics_curve"] = curve(tables["semantics_smooth"], tables["semantics_curve"], context.title)
        figures["semantics_scatter"] = scatter(tables["semantics"], tables["semantics_levels"], context.title)
    if tables["semantics_success"]:
        figures["semantics_success"] = by_success(tables["semantics_success"], context.title)
    return figures


def panels_figures(analyses: Sequence[Any], results: Mapping[str, Result], context: Context) -> Figures:
    """Draw a contact sheet per layer, and a figure per unit that was asked for."""
    (analysis,) = (one for one in analyses if isinstance(one, SemanticsAnalysis))
    rows, config = results["semantics"].tables["semantics"], context.settings.panels
    units = chosen_units(rows, config)
    found = unit_rows(
        context.network, context.dataset, context.attacks, analysis, rows, units, config, **context.runner
    )
    names = list(context.outputs.names) or list(getattr(context.dataset, "class_names", []))
    figures: Figures = {}
    for layer, shown in found.items():
        told = f"units {', '.join(map(str, config.units))}" if config.units else "most and least consistent units"
        figures[f"panels_{layer}"] = meaning_panel(shown, names, f"{context.title}, {layer}: {told}")
        for unit in config.units:
            own = [one for one in shown if one.row["unit"] == unit]
            figures[f"panels_{layer}_{unit}"] = meaning_panel(own, names, f"{context.title}, {layer}, unit {unit}")
    return figures


def distances_figures(analyses: Sequence[Any], results: Mapping[str, Result], context: Context) -> Figures:
    """Draw the histograms of the ratios."""
    tables = results["distances"].tables
    if not tables["distances"]:
        return {}
    return {"distances": ratio_histogram(tables["distances_histogram"], tables["distances"], context.title)}
