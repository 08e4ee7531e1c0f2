"""The tables of tracing."""

from lightning_advinterp.analyses.base.columns import EPS, IMAGES
from lightning_advinterp.core.columns import Column, TableSpec, interval_columns

_IMAGE = Column("image", "path relative to the data, or a file as it was named")
_LAYER = Column("layer", "layer whose units are traced")
_UNIT = Column("unit", "channel of the layer, from 0")
_CLASS = (
    Column("class", "`predicted`, `true`, or the number of an output that was asked for"),
    Column("class_index", "the output"),
    Column("class_name", "what it is called"),
)
_MEANING = (
    Column("label", "concept that a dissection found for the unit", when="a dissection of the network is at hand"),
    Column("iou", "its IoU", when="a dissection of the network is at hand"),
    Column("category", "its category", when="a dissection of the network is at hand"),
    Column("lc", "LC of the unit over the data's images", when="classes have names"),
    Column("mode_class", "most frequent class of its top images", when="classes have names"),
    Column("cs1", "CS1 of the unit under the first attack", when="images are attacked"),
    Column("floor", "LC of a unit whose top images are all of different classes", when="classes have names"),
)
_MODE_INDEX = Column("mode_index", "output of `mode_class`", when="classes have names")
_RANK = Column("rank", "place in the order, from 0")
_SAID = (
    Column("predicted", "class that the network says"),
    Column("predicted_name", "what it is called"),
)


_WITHOUT = {"named": "the named units", "control": "as many others, as active"}
_REMOVED = tuple(
    column
    for which, what in _WITHOUT.items()
    for column in (
        Column(f"{which}_activation", f"mean activation of {what}"),
        Column(f"{which}_predicted", f"class that the network says without {what}"),
        Column(f"{which}_flips", "whether that is right, of an error"),
        Column(f"{which}_changes", "whether that is another class"),
    )
)
_REMOVED_SHARES = tuple(
    column
    for which, what in _WITHOUT.items()
    for column in (
        Column(f"{which}_activation", f"mean activation of {what}"),
        Column(f"{which}_flips", f"errors that are right without {what}", "share"),
        *interval_columns(f"{which}_flips"),
        Column(f"{which}_changes", f"predictions that are others without {what}", "share"),
        *interval_columns(f"{which}_changes"),
    )
)

TRACING = (
    TableSpec(
        "tracing",
        "an image, image kind, class, layer, form, baseline and unit, the strongest units of each class",
        (
            *(_IMAGE, IMAGES, *_CLASS, _LAYER, _UNIT),
            Column("form", "of evidence: `probability`, `logit` or `log_odds` (bits)"),
            Column("baseline", "what takes the unit's place: `zero`, `mean` or `sampled`"),
            Column("difference", "evidence for the class with the unit, less that without it"),
            _RANK,
            Column("activation", "mean of the unit's map over places"),
            *_MEANING,
            EPS,
        ),
    ),
    TableSpec(
        "tracing_errors",
        "an image with a label, and an image kind",
        (
            *(_IMAGE, IMAGES, Column("label", "class of the image"), _SAID[0]),
            Column("right", "whether both are the same"),
            Column("role", "`chosen`, or `matched`: right, and as sure as an error"),
            Column("confidence", "probability of the predicted class"),
            Column("support", "semantic support of the prediction"),
            Column("near", "weight of the named units whose modal class or concept is near the prediction", "share"),
            Column("near_true", "the same of the true class", "share"),
            Column("named", "how many units are named: the strongest that speak for the prediction", "units"),
            *_REMOVED,
            EPS,
        ),
    ),
    TableSpec(
        "tracing_summary",
        "an image kind and a group of images",
        (
            IMAGES,
            Column("group", "`wrong` or `right`"),
            Column("n", "images of the group", "images"),
            Column("support", "mean semantic support"),
            *interval_columns("support", ""),
            Column("near", "predictions that rest, by weight, mostly on units near the predicted class", "share"),
            *interval_columns("near"),
            Column("near_true", "the same of the true class", "share"),
            *interval_columns("near_true"),
            Column("compared", "images of which named and control units were removed", "images"),
            *_REMOVED_SHARES,
            Column("recall", "mean share of the strongest units that a screening keeps", "share"),
            EPS,
        ),
    ),
    TableSpec(
        "tracing_pages",
        "an image with a page, and an image kind",
        (
            *(_IMAGE, IMAGES, Column("picture", "name of the picture in images/"), Column("label", "output, if known")),
            *(Column("label_name", "what it is called"), *_SAID, Column("confidence", "its probability")),
            Column("support", "semantic support of the prediction"),
            *(_LAYER, Column("form", "that ranks units on the page"), Column("baseline", "on the page"), EPS),
        ),
        when="images have pages",
    ),
    TableSpec(
        "tracing_classes",
        "an image with a page, an image kind and one of the most likely classes",
        (_IMAGE, IMAGES, _RANK, *_CLASS[1:], Column("probability", "of the class")),
        when="images have pages",
    ),
    TableSpec(
        "tracing_removed",
        "an image with a page, an image kind, a class and units that are removed together",
        (
            *(_IMAGE, IMAGES, *_CLASS, _LAYER),
            Column("which", "`named`: the strongest for the class; `control`: others, as active"),
            Column("count", "how many units", "units"),
            Column("units", "their numbers"),
            Column("mean_activation", "their mean activation"),
            Column("probability", "of the class without them"),
            *_SAID,
            Column("predicted_probability", "its probability"),
        ),
        when="images have pages",
    ),
    TableSpec(
        "tracing_centres",
        "an image with a page, an image kind and one of the nearest class centres",
        (_IMAGE, IMAGES, _RANK, *_CLASS[1:], Column("distance", "from the class's mean features, the image left out")),
        when="images have pages and the data have labels",
    ),
    TableSpec(
        "tracing_switched",
        "an image with a page, an attack and a unit",
        (
            *(_IMAGE, IMAGES, _LAYER, _UNIT, Column("switch", "`on` or `off`")),
            Column("real", "mean activation on the real image"),
            Column("attacked", "on the attacked image"),
            *(*_MEANING, _MODE_INDEX, EPS),
        ),
        when="images have pages and are attacked",
    ),
    TableSpec(
        "tracing_pictures",
        "a unit on a page and one of its strongest images",
        (
            *(Column("tap", "where the unit is read"), _UNIT, IMAGES, _RANK, _IMAGE, _SAID[0]),
            Column("picture", "name in images/ of the unit's images side by side, in this order"),
            Column("mask", "name of the stored mask: where the unit looks", when="a unit has no picture of its own"),
        ),
        when="images have pages",
    ),
)
