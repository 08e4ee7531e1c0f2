"""The tables of fragility."""

from dataclasses import replace

from lightning_advinterp.analyses.base.columns import EPS, IMAGE
from lightning_advinterp.core.columns import Column, TableSpec, interval_columns

_METHOD = Column("method", "explanation; `random` is a random map, the reference of deletion and insertion")
_ATTACK = Column("attack", "attack on the explanation")
_RADIUS = Column("eps", "its radius in L∞", EPS.unit)
_TARGETED = "with an attack on a target map"
_NO_MAP = "`before`, `after` or `both`: when the map is constant or not finite; empty: never"
_SMOOTH = "with a method that has `softplus`"
_DIRECTED = "with an attack that has an objective"

MAPS = (
    Column("topk", "overlap of the largest places of the maps before and after", "share"),
    Column("spearman", "rank correlation of the two maps"),
    Column("center_shift", "distance between their centres of mass", "px"),
    Column("kendall", "Kendall's τ-b of the two maps"),
    Column("center_shift_relative", "`center_shift` as a share of the diagonal", "share"),
    Column("ssim", "structural similarity of the maps"),
    Column("pcc", "Pearson's correlation of the maps"),
    Column("mse", "mean squared difference of the maps"),
)
"""Measures between two maps."""

INPUTS = (
    Column("linf", "largest change of a pixel value", EPS.unit),
    Column("l2", "Euclidean distance from the image", EPS.unit),
    Column("delta_p", "change of the class' probability"),
    Column("delta_output", "‖Δp‖₂ over all classes"),
    Column("aim_before", "what the attack maximises, on the real image", when=_DIRECTED),
    Column("aim", "the same on the perturbed image", when=_DIRECTED),
    Column("image_ssim", "structural similarity of the two images"),
    Column("image_pcc", "Pearson's correlation of their pixels"),
    Column("image_mse", "mean squared difference of their pixels"),
)
"""Measures of an attack beside those of maps."""

TARGETS = (
    Column("target_{measure}_before", "similarity of the map to the target map, before", when=_TARGETED),
    Column("target_{measure}", "the same after the attack", when=_TARGETED),
)

_QUANTILES = (
    Column("{measure}_q10", "10 % quantile of the measure of this name"),
    Column("{measure}_q90", "its 90 % quantile"),
    Column("{measure}_low", "lower end of the 95 % interval of its median, or of the share"),
    Column("{measure}_high", "upper end"),
    Column("{measure}_other", "its median between the maps of two different images: the reference"),
)

FRAGILITY = (
    TableSpec(
        "fragility",
        "an image, a method, an attack and a radius",
        (
            *(IMAGE, _METHOD, _ATTACK, _RADIUS, *MAPS),
            Column("label_kept", "whether the network keeps the class"),
            Column("success", "whether any step of the attack was better than the image and kept the class"),
            *INPUTS,
            *TARGETS,
            Column("no_map", _NO_MAP),
        ),
    ),
    TableSpec(
        "fragility_summary",
        "a method, an attack and a radius",
        (
            *(_METHOD, _ATTACK, _RADIUS),
            Column("n", "images", "images"),
            Column("label_kept", "images that keep their class", "share"),
            Column("success", "images on which the attack is successful", "share"),
            *_QUANTILES,
            *(replace(column, meaning=f"median: {column.meaning}") for column in (*MAPS, *INPUTS, *TARGETS)),
            Column("deletion", "median area under the deletion curve of the method"),
            Column("insertion", "median area under its insertion curve"),
            Column("skipped", "images that are classified wrongly; they are left out", "images"),
            Column("left", "images for which no time was left", "images"),
            Column("no_map", "images whose map is constant or not finite", "images"),
        ),
    ),
    TableSpec(
        "fragility_methods",
        "a method",
        (
            _METHOD,
            Column("n", "images", "images"),
            Column("deletion", "median area under the curve as places are deleted: low is faithful"),
            Column("insertion", "median area as they are inserted: high is faithful"),
            Column("smooth_kept", "images whose class the network with softplus keeps", "share", when=_SMOOTH),
            *interval_columns("smooth_kept", when=_SMOOTH),
            *_QUANTILES,
            Column("refused", "why a method of the preset was left out"),
            Column("no_map", "images whose map is constant or not finite", "images"),
        ),
    ),
    TableSpec(
        "fragility_convergence",
        "a method, an attack, a radius and a step",
        (
            *(_METHOD, _ATTACK, _RADIUS),
            Column("step", "of the attack"),
            Column("gain", "median gain of the attack's objective over its start"),
            Column("gain_q10", "10 % quantile"),
            Column("gain_q90", "90 % quantile"),
        ),
        _DIRECTED,
    ),
    TableSpec(
        "fragility_pictures",
        "a method, an image and an attack",
        (
            *(IMAGE, _METHOD, _ATTACK, _RADIUS, *MAPS[:2]),
            Column("success", "whether the attack was successful"),
            Column("no_map", _NO_MAP),
            Column("picture", "name of the stored image"),
            Column("map", "name of its stored map"),
            Column("moved", "name of the stored perturbed image"),
            Column("moved_map", "name of its stored map"),
            Column("target", "name of the stored map that the attack aims at"),
        ),
    ),
)
