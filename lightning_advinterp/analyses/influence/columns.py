"""The tables of influence."""

from lightning_advinterp.analyses.base.columns import EPS, IMAGE
from lightning_advinterp.core.columns import Column, TableSpec, interval_columns, spread_columns

_ATTACK = Column("attack", "`sign` (one step), `iterated`, `raise` (with `raised`), or `random_sign`, the control")
_RADIUS = Column("eps", "radius of the attack in L∞", EPS.unit)
_PIXELS = EPS.unit
_RAISED = "with `raised`"

INFLUENCE = (
    TableSpec(
        "influence",
        "an image and an attack",
        (
            IMAGE,
            _ATTACK,
            _RADIUS,
            Column("spearman", "rank correlation of the influence of all training images before and after"),
            Column("overlap", "the most influential training images that stay so", "share"),
            Column("label_kept", "whether the last layer keeps the class"),
            Column("linf", "largest change of a pixel value", _PIXELS),
            Column("l2", "Euclidean distance from the image", _PIXELS),
            Column("delta_p", "change of the class' probability"),
            Column("delta_output", "‖Δp‖₂ over all classes"),
            Column("raised", "number of the training image that `raise` raises", when=_RAISED),
            Column("raised_rank_before", "its rank among the training images, 0 the most influential", when=_RAISED),
            Column("raised_rank", "its rank after the attack", when=_RAISED),
            Column("class", "of the image, the number of an output"),
            Column("no_influence", "`before`, `after` or `both`: when all training images count alike; empty: never"),
        ),
    ),
    TableSpec(
        "influence_summary",
        "an attack",
        (
            _ATTACK,
            _RADIUS,
            Column("n", "images", "images"),
            *spread_columns("spearman", "the rank correlation"),
            Column("spearman_kept", "median over the images that keep their class"),
            *spread_columns("overlap", "the overlap", "share"),
            Column("overlap_kept", "median over the images that keep their class", "share"),
            *spread_columns("delta_p", "the change of the class' probability"),
            *spread_columns("delta_output", "‖Δp‖₂"),
            *spread_columns("linf", "the largest change of a pixel value", _PIXELS),
            *spread_columns("l2", "the Euclidean distance", _PIXELS),
            *spread_columns("raised_rank_before", "the rank of the training image that `raise` raises", when=_RAISED),
            *spread_columns("raised_rank", "its rank after the attack", when=_RAISED),
            Column(
                "raised_top",
                "images on which it is among the `overlap` most influential after it",
                "share",
                when=_RAISED,
            ),
            *interval_columns("raised_top", when=_RAISED),
            Column("label_kept", "images that keep their class", "share"),
            *interval_columns("label_kept"),
            Column("spearman_other", "median rank correlation between two images of one class: the reference"),
            Column("training", "training images", "images"),
            Column("skipped", "test images that the last layer gets wrong; they are left out", "images"),
            Column("no_influence", "images of which all training images have the same influence", "images"),
        ),
    ),
    TableSpec(
        "influence_exemplars",
        "a test image, an attack and a training image",
        (
            IMAGE,
            Column("attack", "`before` any, or the attack's name"),
            Column("rank", "place of the training image among the most influential, from 0"),
            Column("training", "number of the training image"),
            Column("training_name", "name of its class"),
            Column("stays", "whether it was among them before the attack"),
            Column("raised", "whether the attack `raise` is to raise it"),
            Column("picture", "name of the stored test image"),
            Column("training_picture", "name of the stored training image"),
        ),
    ),
)
