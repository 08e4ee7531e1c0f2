"""The tables of accuracy and predictions."""

from lightning_advinterp.analyses.base.columns import ATTACKED, EPS, IMAGE, IMAGES, N
from lightning_advinterp.core.columns import Column, TableSpec, share_columns

ACCURACY = (
    TableSpec(
        "accuracy",
        "a kind of images",
        (
            IMAGES,
            N,
            *share_columns("top1", "images whose class comes first"),
            *share_columns("top5", "images whose class is among the first five"),
            EPS,
            Column("steps", "steps of the attack", "steps", when=ATTACKED),
            Column("success", "images predicted as the attack wanted: not the label it left, or its target", "share"),
            Column("label_kept", "images predicted as before the attack", "share"),
            Column("linf", "mean largest change of a pixel value", "of the range [0, 1]"),
            Column("l2", "mean Euclidean distance from the real image", "of the range [0, 1]"),
            Column("restarts", "random starts of the attack", when=ATTACKED),
            Column("target", "rule or class of the attack's target", when=ATTACKED),
            Column("zero_gradient", "images on which every gradient was exactly zero", "images", when=ATTACKED),
            Column("nonfinite", "images on which a loss or gradient was NaN or infinite", "images", when=ATTACKED),
            Column("not_attacked", "images of the target class; no other column counts them", "images", when=ATTACKED),
        ),
    ),
    TableSpec(
        "perturbation",
        "an attack: its changes of the images on which all attacks succeed",
        (
            IMAGES,
            N,
            Column("pixels", "mean share of pixels that change by half a grey level or more", "share"),
            Column("l1", "mean sum of the changes' absolute values", "of the range [0, 1]"),
            Column("l2", "mean Euclidean distance from the real image", "of the range [0, 1]"),
            Column("linf", "mean largest change of a pixel value", "of the range [0, 1]"),
            EPS,
        ),
        when="with two attacks or more",
    ),
)

PREDICTIONS = (
    TableSpec(
        "predictions",
        "an image, in the order of the data",
        (
            IMAGE,
            Column("label", "its class, as the number of an output"),
            Column("real", "output that the network answers with"),
            Column("{attack}", "its answer under the attack of this name", when=ATTACKED),
        ),
    ),
)
