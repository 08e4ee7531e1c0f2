"""The tables of sensitivity."""

from lightning_advinterp.analyses.base.columns import EPS, LAYER, TAP, UNIT, N
from lightning_advinterp.core.columns import Column, TableSpec, interval_columns

_SD = "standard deviations"
_KIND = Column("images", "name of the attack, or of noise as large: `<attack>~noise_linf`, `<attack>~noise_l2`")
_DISSECTED = "where there is a dissection"
_CLASSES = "where the network's classes are known"

_UNITS = TableSpec(
    "sensitivity",
    "a layer's unit and a kind of images",
    (
        LAYER,
        UNIT,
        _KIND,
        Column("change", "mean change of the unit's spatial maximum from real images to these"),
        Column("change_sd", "the same over its standard deviation on real images", _SD),
        Column("iou", "overlap with the concept that the unit detects best, on real images; empty without dissection"),
        Column("label", "that concept"),
        Column("category", "category of the concept"),
        Column("sensitivity", "mean magnitude of the change over the standard deviation", _SD),
        Column("direction", "`promoted`, `suppressed` or `neither`; empty for a dead unit"),
        Column("p", "of the paired t-test behind it, adjusted over the layer's units (Benjamini and Hochberg)"),
        Column("mean_change", "as `change`, of the spatial mean"),
        Column("mean_change_sd", "as `change_sd`, of the spatial mean", _SD),
        Column("mean_sensitivity", "as `sensitivity`, of the spatial mean", _SD),
        Column("real_mean", "mean of the spatial maximum over real images"),
        Column("real_sd", "its standard deviation; empty for a unit with one value"),
        Column("active", "share of the places of real images' maps above zero", "share"),
        Column("mode_class", "most frequent class of the real images that drive the unit most", when=_CLASSES),
        EPS,
        TAP,
        N,
    ),
)
_LAYERS = TableSpec(
    "sensitivity_layers",
    "a layer (or `all`) and a kind of images",
    (
        LAYER,
        _KIND,
        Column("units", "how many units", "units"),
        Column("dead", "units with one value for all real images", "units"),
        Column("change_sd", "mean of the units' changes", _SD),
        Column("sensitivity", "mean of their magnitudes", _SD),
        Column("sensitivity_median", "median of their magnitudes", _SD),
        Column("promoted", "share of the living units that are promoted", "share"),
        Column("suppressed", "share of the living units that are suppressed", "share"),
        EPS,
        N,
    ),
)
_RELATIONS = TableSpec(
    "sensitivity_classes",
    "a layer, kind of images, meaning and relation",
    (
        LAYER,
        _KIND,
        Column("meaning", "what a unit means: its most frequent `class`, or the `concept` that it detects"),
        Column("near", "what that is near to: the image's `target` class, its `true` class, `both`, or `neither`"),
        Column("change_sd", "mean over images of the mean change of their units of this relation", _SD),
        *interval_columns("change_sd", _SD),
        Column("rising", "mean share of these units that rise", "share"),
        Column("units", "mean number of these units", "units"),
        EPS,
        Column("n", "images with such units", "images"),
    ),
)
_TEST = TableSpec(
    "sensitivity_test",
    "a layer (or `all`), kind of images, reading and category (or `all`)",
    (
        LAYER,
        _KIND,
        Column("reading", "`max` or `mean` over the places of a map"),
        Column("category", "category of the detectors' concepts"),
        Column("detectors", "units that detect a concept of the category", "units"),
        Column("others", "units that detect nothing", "units"),
        Column("pairs", "pairs of the two, matched", "pairs"),
        Column("sensitivity", "mean sensitivity of the pairs' detectors", _SD),
        Column("matched", "mean sensitivity of their partners", _SD),
        Column("effect", "Cliff's δ: how much more often a detector's sensitivity is the larger one, −1 to 1"),
        *interval_columns("effect", ""),
        Column("p", "one-sided, Mann–Whitney: detectors are more sensitive"),
        Column("p_permutation", "one-sided, exchanging values within pairs"),
        Column("p_holm", "`p` adjusted over the layers (Holm)"),
        Column("p_permutation_holm", "`p_permutation` adjusted over the layers"),
        Column("effect_unmatched", "Cliff's δ of all detectors and all other units"),
        Column("p_unmatched", "its one-sided p (Mann–Whitney)"),
        Column("imbalance", "largest difference of the pairs' mean ranks in what they are matched on", "of 1"),
        Column("spearman", "rank correlation of sensitivity and IoU over all units; in rows of all categories"),
        Column("spearman_p", "its one-sided p"),
        EPS,
        Column("n", "images that give sensitivity, none of which is dissected", "images"),
    ),
    when=_DISSECTED,
)
_MASKING = TableSpec(
    "sensitivity_masking",
    "a number of units, mask, draw and attack",
    (
        Column("units", "units set to zero", "units"),
        Column("mask", "`sensitive`: the most sensitive ones; `random`: as many of the same layers; empty for none"),
        Column("draw", "number of the random choice"),
        Column("attack", "attack on the network without the units; `clean` for real images"),
        Column("top1", "share of images that the network without the units gets right", "share"),
        *interval_columns("top1"),
        EPS,
        N,
        Column("ranked_by", "attack whose changes rank the units"),
    ),
    when="where `mask_units` is given",
)
SENSITIVITY = (_UNITS, _LAYERS, _RELATIONS, _TEST, _MASKING)
