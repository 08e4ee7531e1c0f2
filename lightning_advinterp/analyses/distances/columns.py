"""The tables of distances."""

from lightning_advinterp.analyses.base.columns import EPS, IMAGES
from lightning_advinterp.core.columns import Column, TableSpec, interval_columns

RATIO = Column("ratio", "which ratio of distances in feature space: `r_ctr`, `r_src`, `r_tgt`, `r_own` or `r_goal`")
_PER_CLASS = "mean number of reference images of a class, to which distances are taken"

DISTANCES = (
    TableSpec(
        "distances",
        "an attack and a ratio",
        (
            IMAGES,
            RATIO,
            Column("mean", "mean of the ratio over images"),
            Column("median", "its median"),
            Column("share_above_one", "images whose ratio is above 1", "share"),
            Column("n", "images that have the ratio", "images"),
            *interval_columns("mean", ""),
            EPS,
            Column("images_per_class", _PER_CLASS, "images"),
        ),
    ),
    TableSpec(
        "distances_histogram",
        "an attack, a ratio and a bin",
        (
            IMAGES,
            RATIO,
            Column("low", "lower edge of the bin"),
            Column("high", "its upper edge; `inf` for the last one"),
            Column("n", "images in the bin", "images"),
            EPS,
        ),
    ),
)
