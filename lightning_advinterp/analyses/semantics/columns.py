"""The tables of semantics."""

from lightning_advinterp.analyses.base.columns import EPS, IMAGES, LAYER, TAP, UNIT
from lightning_advinterp.core.columns import Column, TableSpec, interval_columns

_LC = Column("lc", "level of consistency: how much one class rules the unit's top images")
_MEASURES = {
    "lc": "LC",
    "cs1": "CS1: how alike the true classes of the top real and adversarial images are",
    "cs2": "CS2: how alike the true classes of the top real images and the targets of the adversarial ones are",
    "cs_halves": "the ceiling: CS between two random halves of the real images",
    "cs1_cross": "CS1 between the real images of one half and the adversarial ones of the other",
    "cs2_cross": "CS2 likewise",
    "content_auc": "`content_auc`",
    "prediction_auc": "`prediction_auc`",
}

LEVELS = (
    Column("kept", "top images of a unit", "images"),
    Column("images_per_class", "mean number of images of a class that has any", "images"),
    Column("floor", "1/`kept`, below which LC cannot fall"),
    Column("chance_lc", "LC of a random ranking of the same images"),
    Column("chance_cs1", "CS1 of such rankings"),
    Column("chance_cs2", "CS2 of such rankings"),
    Column("readable", "whether there are enough top images, and of each class, to tell units apart by LC"),
)
"""What the measures are held against."""

_ALL_LEVELS = (
    Column("n", "images", "images"),
    *LEVELS,
    Column("target_mass", "share of the images whose target, or prediction, lies among the classes", "share"),
)


def _means(*names: str) -> tuple[Column, ...]:
    """Return the columns of means over units with their intervals."""
    columns: list[Column] = [Column("dead", "units that no image drives; they are in no mean", "units")]
    for name in names:
        columns += [Column(name, f"mean over units of {_MEASURES[name]}"), *interval_columns(name, "")]
    return tuple(columns)


_CURVE = (
    IMAGES,
    Column("units", "units in the bin, or the weight of those around", "units"),
    *(Column(name, f"their mean {name.upper()}; empty where they are too few") for name in ("cs1", "cs2")),
    *interval_columns("cs1", ""),
    *interval_columns("cs2", ""),
    EPS,
    *_ALL_LEVELS,
)

SEMANTICS = (
    TableSpec(
        "semantics",
        "a unit and a kind of images",
        (
            LAYER,
            UNIT,
            IMAGES,
            _LC,
            *(Column(name, f"{_MEASURES[name]}; empty for real images") for name in ("cs1", "cs2")),
            Column("mode_class", "commonest true class of the top real images"),
            Column("mode_index", "its output"),
            EPS,
            TAP,
            Column("signed", "whether activations below zero are possible; else only positive ones count"),
            Column("dead", "whether no image drives the unit"),
            Column("lc_identity", "LC that is blind to how close classes are"),
            Column("lc_true", "LC of the row's own top images by their true classes"),
            Column("lc_target", "the same by their targets", when="with an attack"),
            Column("lc_predicted", "the same by the predictions"),
            Column("entropy", "entropy of the true classes of the row's own top images", "nats"),
            Column("cs_halves", _MEASURES["cs_halves"]),
            Column("cs{number}_identity", "CS1, CS2 that are blind to how close classes are", when="with an attack"),
            Column("cs2_predicted", "CS2 with predictions in place of targets", when="with an attack"),
            Column("lc_half", "LC from one half of the images", when="with an attack"),
            Column("cs{number}_half", "CS1, CS2 from the other half", when="with an attack"),
            Column("cs1_cross", _MEASURES["cs1_cross"], when="with an attack"),
            Column("cs2_cross", _MEASURES["cs2_cross"], when="with an attack"),
            Column(
                "content_auc",
                "probability that an adversarial image of the unit's class drives it more than a real one of another",
                when="with an attack",
            ),
            Column(
                "prediction_auc",
                "the same for adversarial images of other classes that were aimed at the unit's",
                when="with an attack",
            ),
            *LEVELS,
        ),
    ),
    TableSpec(
        "semantics_curve",
        "an attack and a bin of LC",
        (Column("lc_low", "lower edge of the bin"), Column("lc_high", "its upper edge"), *_CURVE),
        "with an attack",
    ),
    TableSpec(
        "semantics_smooth",
        "an attack and a level of consistency",
        (Column("lc", "around which units are weighted by a Gaussian kernel"), *_CURVE),
        "with an attack",
    ),
    TableSpec(
        "semantics_layers",
        "a layer and a kind of images",
        (LAYER, IMAGES, EPS, TAP, Column("units", "units of the layer", "units"), *_means(*_MEASURES), *_ALL_LEVELS),
    ),
    TableSpec(
        "semantics_levels",
        "a kind of images",
        (
            IMAGES,
            EPS,
            *_ALL_LEVELS,
            Column("spearman_{measure}_p", "p-value of the correlation of this name", when="with an attack"),
            Column(
                "spearman_{measure}_halves",
                "the same with LC from one half of the images and CS from the other",
                when="with an attack",
            ),
            Column("spearman_{measure}", "rank correlation of CS1, CS2 with LC within layers", when="with an attack"),
        ),
    ),
    TableSpec(
        "semantics_success",
        "an attack, success or failure, and a layer",
        (
            LAYER,
            IMAGES,
            Column("change", "`success` or `failure`: images on which the attack reaches its goal, or does not"),
            Column("units", "units of the layer", "units"),
            *_means("lc", "cs1", "cs2", "cs_halves", "cs1_cross", "cs2_cross"),
            EPS,
            *_ALL_LEVELS[:-1],
        ),
        "with `semantics.by_success`",
    ),
)
