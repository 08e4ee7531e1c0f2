"""The tables of dissection."""

from lightning_advinterp.analyses.base.columns import EPS, IMAGES, LAYER, PICTURE, TAP, UNIT
from lightning_advinterp.core.columns import Column, TableSpec, interval_columns

SPLIT = "with `dissection.by_success`"
UNDER_ATTACK = "with an attack"

_LABEL = Column("label", "label that the unit detects best; empty where it overlaps with none")
_CATEGORY = Column("category", "its category")
_IOU = Column("iou", "its IoU with the unit")
_CATEGORY_ROW = Column("category", "category of the labels; `all` for any")
_KEPT = "`concept`, `category` (another label of the same), `other`, `lost`; empty for a unit that is no detector"
_CHANGE = Column(
    "change",
    "`attack`, `noise` (random signs as large), `split_half` (the other half of the real images); with "
    "`dissection.by_success` also `success`, `failure`, `noise_success`, `noise_failure`: on these images alone",
)
_REACHED = Column("change", "`success` or `failure`: images on which the attack reaches its goal, or does not")

DISSECTION = (
    TableSpec(
        "dissection",
        "a unit and a kind of images",
        (
            LAYER,
            UNIT,
            IMAGES,
            # nine digits, from which a float32 is read back as it is: what equals a threshold does not exceed it
            Column("threshold", "activation that the unit exceeds on the given share of all places", format=".9g"),
            _LABEL,
            _CATEGORY,
            _IOU,
            Column("{category}_label", "label of this category that the unit detects best"),
            Column("{category}_iou", "its IoU with the unit"),
            EPS,
            TAP,
        ),
    ),
    TableSpec(
        "dissection_summary",
        "a layer, a kind of images and a category",
        (
            LAYER,
            IMAGES,
            _CATEGORY_ROW,
            Column("detectors", "units whose best label is of the category, with IoU ≥ τ", "units"),
            Column("ratio", "their share", "share"),
            Column("unique", "different labels among them", "labels"),
            Column("ratio_low", "lower end of the 95 % interval of `ratio`, by bootstrap over images", "share"),
            Column("ratio_high", "its upper end", "share"),
            Column("detectors_every", "units with IoU > τ for any label of the category (the paper's count)", "units"),
            Column("ratio_every", "their share", "share"),
            Column("unique_every", "different labels among them", "labels"),
            Column("shuffled", "`ratio` against another image's labels", "share", when="with this control"),
            Column("rotated", "`ratio` in a rotated basis", "share", when="with this control"),
            Column("random", "`ratio` of the network with random weights", "share", when="with this control"),
            Column("units", "units of the layer", "units"),
            Column("n", "images", "images"),
            EPS,
            Column("success", "share of the images that reach the attack's goal", "share"),
            Column("linf", "mean largest change of a pixel value", EPS.unit),
        ),
    ),
    TableSpec(
        "dissection_retention",
        "a unit and an attack",
        (
            LAYER,
            UNIT,
            IMAGES,
            Column("real_label", "label that the unit detects best on real images"),
            Column("real_category", "its category"),
            Column("real_iou", "its IoU with the unit"),
            Column("label", "label that it detects best under attack"),
            _CATEGORY,
            _IOU,
            Column("kept", f"what it keeps of its concept under attack: {_KEPT}"),
            Column("noise_kept", "the same under random signs as large"),
            Column("half_kept", "the same on one half of the real images, of what it detects on the other"),
            EPS,
            TAP,
        ),
        UNDER_ATTACK,
    ),
    TableSpec(
        "dissection_retention_summary",
        "a layer, a kind of images and a change",
        (
            LAYER,
            IMAGES,
            _CHANGE,
            Column("detectors", "units that are detectors before the change", "units"),
            Column("same_concept", "detectors that keep their concept", "share"),
            *interval_columns("same_concept"),
            Column("same_category", "detectors that keep their concept, or another of its category", "share"),
            *interval_columns("same_category"),
            Column("any", "detectors that stay detectors", "share"),
            *interval_columns("any"),
            Column("lost", "detectors that detect nothing any more", "share"),
            EPS,
        ),
    ),
    TableSpec(
        "dissection_success",
        "a layer, an attack, success or failure, and a category",
        (
            LAYER,
            IMAGES,
            _REACHED,
            _CATEGORY_ROW,
            Column("detectors", "units whose best label is of the category, with IoU ≥ τ, under attack", "units"),
            Column("ratio", "their share", "share"),
            Column("unique", "different labels among them", "labels"),
            Column("real_ratio", "`ratio` on the real versions of the same images", "share"),
            Column("real_unique", "`unique` on these", "labels"),
            Column("noise_ratio", "`ratio` on the same images under random signs as large", "share"),
            Column("noise_unique", "`unique` on these", "labels"),
            Column("units", "units of the layer", "units"),
            Column("n", "images", "images"),
            EPS,
        ),
        SPLIT,
    ),
    TableSpec("dissection_pictures", "a unit, a kind of images and an image", (*PICTURE, _LABEL, _CATEGORY, _IOU)),
)
