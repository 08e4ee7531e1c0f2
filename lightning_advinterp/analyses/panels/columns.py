"""The tables of panels and patches."""

from lightning_advinterp.analyses.base.columns import LAYER, PICTURE, UNIT
from lightning_advinterp.analyses.semantics.columns import LEVELS
from lightning_advinterp.core.columns import Column, TableSpec

PANELS = (
    TableSpec(
        "panels",
        "a unit, a kind of images and an image",
        (
            *PICTURE,
            Column("lc", "level of consistency of the unit"),
            Column("cs1", "its CS1; empty for real images"),
            Column("cs2", "its CS2; empty for real images"),
            Column("mode_class", "commonest true class of its top real images"),
            Column("mode_index", "the output of that class"),
            Column("dead", "whether no image drives the unit"),
            Column("signed", "whether activations below zero are possible; else only positive ones count"),
            *LEVELS,
            Column("predicted_name", "what the network takes the image for"),
            Column("near_concept", "whether that is `mode_class` or near it; empty for real images"),
        ),
    ),
    TableSpec(
        "patches",
        "a unit",
        (
            LAYER,
            UNIT,
            Column("image", "path, or number, of the image that the patch is cut from"),
            Column("activation", "of the unit at the patch's own place"),
            Column("n", "other images", "images"),
            Column("plain", "the unit's mean response to these"),
            Column("pasted", "its mean response with the patch at its own place"),
            Column("moved", "with the patch at a random place"),
            Column("shuffled", "with the patch's pixels shuffled"),
            Column("recurrence", "(`moved` − `shuffled`) / (`activation` − `plain`): 1 where only the patch counts"),
        ),
        "with `panels.patches`",
    ),
)
