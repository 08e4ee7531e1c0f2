"""The tables of promotion."""

from lightning_advinterp.analyses.base.columns import EPS, IMAGE
from lightning_advinterp.core.columns import Column, TableSpec, interval_columns

_ATTACK = Column("images", "name of the attack")
_EFFECT = Column("effect", "how effects are measured: `remove`, `add` or `symmetric`")
_LOGITS = Column("logits", "on what: `raw` or `centred` logits, or `log_probability`")
_XI = Column("xi", "ξ: effects up to it count as none")
_THRESHOLD = Column("threshold", "|r| beyond which one effect dominates")
_MAP = Column("map", "`cam`, `grad_cam`, or the adversarial saliency map `asm`")
_OF = Column("of", "whose map it is: the `real` or the `adversarial` image's")
_CLASS = Column("class", "for which class: the `true` one or the `target`")
_PERCENTILE = Column("percentile", "P: the score is of the places where the map exceeds it")
_CHANCE = Column("chance", "√(1 − P/100), of a perturbation of equal magnitude everywhere")
_IMAGES = Column("n", "images", "images")

_CELLS = TableSpec(
    "promotion",
    "an image, attack, effect, form of the logits and cell",
    (
        IMAGE,
        _ATTACK,
        EPS,
        _EFFECT,
        _LOGITS,
        Column("cell", "number of the cell, row by row from 0"),
        Column("promotion", "T_i: by how much the cell's perturbation raises the target's score"),
        Column("suppression", "S_i: by how much it lowers the true class' score"),
        Column("ratio", "r_i = log2(max(T_i, ξ) / max(S_i, ξ)); empty where inactive"),
        Column("type", "`suppression`, `balanced`, `promotion`, `inert` or `inactive`"),
        Column("counter", "whether either effect is below −ξ"),
        Column("delta_l2", "‖δ_i‖₂ of the cell's perturbation"),
        Column("sensitivity", "s_i = T_i + S_i, the change of the margin"),
    ),
)
_SUMMARY = TableSpec(
    "promotion_summary",
    "an attack, effect, form of the logits, ξ, threshold and type",
    (
        _ATTACK,
        _EFFECT,
        _LOGITS,
        _XI,
        _THRESHOLD,
        Column("type", "type of cells, or `counter` for those that are counter-productive, whatever their type"),
        Column("share", "share of the active cells; of `inactive` ones, of all", "share"),
        Column("share_low", "lower end of its 95 % interval over images", "share"),
        Column("share_high", "its upper end", "share"),
        Column("share_by_l2", "the same share, every cell weighing ‖δ_i‖₂", "share"),
        Column("n", "cells of which it is a share", "cells"),
        Column("counter_within", "share of the type's cells that is counter-productive", "share"),
        EPS,
    ),
)
_AGREEMENT = TableSpec(
    "promotion_agreement",
    "an attack and two forms, or `all` nine",
    (
        _ATTACK,
        EPS,
        _XI,
        _THRESHOLD,
        _EFFECT,
        _LOGITS,
        Column("other_effect", "effect of the other form"),
        Column("other_logits", "its logits"),
        Column("agreement", "share of the active cells to which they give the same type", "share"),
        *interval_columns("agreement"),
        Column("chance", "the same for independent types of these shares", "share"),
        Column("n", "active cells", "cells"),
    ),
)
_CONCLUSIONS = TableSpec(
    "promotion_conclusions",
    "an attack, a scope and two types",
    (
        _ATTACK,
        EPS,
        Column("scope", "`settings`: all forms at one ξ and threshold; `sweep`: at all of them"),
        Column("claim", "the order of the two types' shares that most forms show"),
        Column("forms", "forms, by count and by ‖δ_i‖"),
        Column("showing", "of these, forms that show it"),
        Column("surely", "forms whose 95 % interval of the difference over images lies on its side"),
        Column("contrary", "forms whose interval lies on the other side"),
        Column("holds", "whether all forms show it"),
    ),
)
_COMPLETENESS = (
    TableSpec(
        "promotion_completeness",
        "an image, attack, effect and form of the logits",
        (
            IMAGE,
            _ATTACK,
            EPS,
            _EFFECT,
            _LOGITS,
            Column("target", "target, the number of an output"),
            Column("true", "true class, likewise"),
            Column("promotion", "Σ T_i over all cells"),
            Column("promotion_whole", "by how much the whole perturbation raises the target's score"),
            Column("suppression", "Σ S_i over all cells"),
            Column("suppression_whole", "by how much the whole perturbation lowers the true class' score"),
        ),
    ),
    TableSpec(
        "promotion_completeness_summary",
        "an attack, effect and form of the logits",
        (
            _ATTACK,
            EPS,
            _EFFECT,
            _LOGITS,
            Column("promotion", "Σ T_i / effect of the whole perturbation, both summed over images; 1 is complete"),
            *interval_columns("promotion", ""),
            Column("suppression", "the same of S_i"),
            *interval_columns("suppression", ""),
            _IMAGES,
        ),
    ),
)
_SCORES = (
    TableSpec(
        "promotion_is",
        "an image, attack, map, pair and percentile",
        (
            IMAGE,
            _ATTACK,
            _MAP,
            _OF,
            _CLASS,
            _PERCENTILE,
            Column("score", "interpretability score ‖B∘δ‖₂ / ‖δ‖₂; empty for δ = 0 and constant maps"),
            _CHANCE,
            Column("rolled", "mean score with the same map rolled by quarters of the sides"),
            Column("other", "score with another image's map for the same class"),
            Column("reached", "whether the attack succeeds on the image"),
            EPS,
        ),
    ),
    TableSpec(
        "promotion_is_summary",
        "an attack, map, pair and percentile",
        (
            _ATTACK,
            EPS,
            _MAP,
            _OF,
            _CLASS,
            _PERCENTILE,
            Column("score", "mean score over the images on which the attack succeeds"),
            *interval_columns("score", ""),
            _CHANCE,
            Column("rolled", "mean with the maps rolled"),
            Column("other", "mean with another image's maps"),
            *(
                column
                for control in ("chance", "rolled", "other")
                for column in (
                    Column(f"minus_{control}", f"mean of score − {control}"),
                    *interval_columns(f"minus_{control}", ""),
                )
            ),
            Column("n", "images that have a score", "images"),
            Column("missing", "images that have none", "images"),
        ),
    ),
)
_CORRELATION = TableSpec(
    "promotion_correlation",
    "an attack, effect, form of the logits, quantity, map and pair",
    (
        _ATTACK,
        EPS,
        _EFFECT,
        _LOGITS,
        Column("quantity", "column of `promotion`: `ratio`, `promotion` or `suppression`"),
        _MAP,
        _OF,
        _CLASS,
        Column("correlation", "Spearman's ρ over active cells with the map's mean in the cell; mean over images"),
        *interval_columns("correlation", ""),
        Column("rolled", "mean with the map rolled by quarters of the sides"),
        Column("minus_rolled", "mean difference of the two"),
        *interval_columns("minus_rolled", ""),
        Column("n", "images that have one", "images"),
    ),
)
_SCREENING = TableSpec(
    "promotion_screening",
    "an attack, effect and share of the cells",
    (
        _ATTACK,
        EPS,
        _EFFECT,
        Column("top", "which share of the cells, those of largest |s_i|", "share"),
        Column("cells", "how many these are", "cells"),
        Column("recall", "share of them among as many that gradients rank highest; mean over images", "share"),
        *interval_columns("recall"),
        Column("chance", "the same for a random order", "share"),
        _IMAGES,
    ),
    "with `screening`",
)
_PICTURES = TableSpec(
    "promotion_pictures",
    "an attack and an image of the figures",
    (
        IMAGE,
        _ATTACK,
        Column("true", "name of the true class"),
        Column("target", "name of the target"),
        Column("map", "name of the map of the class"),
        Column("cell", "side of a cell", "px"),
        Column("picture", "name of the stored image"),
        Column("adversarial", "name of the stored adversarial image"),
        Column("true_map", "name of the stored map of the real image for the true class"),
        Column("target_map", "name of the stored map for the target"),
        Column("promotion", "name of the stored T_i, by effect, logits and cell"),
        Column("suppression", "name of the stored S_i"),
        Column("types", "name of the stored types, as numbers"),
    ),
)
PROMOTION = (
    *(_CELLS, _SUMMARY, _AGREEMENT, _CONCLUSIONS, *_COMPLETENESS, *_SCORES, _CORRELATION),
    *(_SCREENING, _PICTURES),
)
