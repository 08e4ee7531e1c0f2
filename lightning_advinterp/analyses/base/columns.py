"""Columns that several questions' tables have."""

from lightning_advinterp.core.columns import Column

ATTACKED = "under attack"
NO_NUMBER = "where the attack has no such thing"

IMAGE = Column("image", "path of the image from the folder of the data; its number where it has no path")
IMAGES = Column("images", "kind of images: `real`, or the name of an attack")
LAYER = Column("layer", "path of the layer; `all` for all layers together")
UNIT = Column("unit", "number of the unit in its layer, from 0")
TAP = Column("tap", "path of the module whose output was read for the layer; after an `@` the basis it was read in")
EPS = Column("eps", "radius of the attack, the largest where it is drawn; empty for real images", "of the range [0, 1]")
N = Column("n", "how many images", "images")

BESIDE = (
    Column("success", "share of the attacked images that reach the attack's goal", "share", when=ATTACKED),
    Column("norm", "norm in which `eps` is meant: `linf` or `l2`", when=ATTACKED),
    Column("eps_low", "smallest radius that is drawn", EPS.unit, when="where the attack draws its radius"),
)
"""Columns that a run adds to every table whose rows depend on an attack."""

PICTURE = (
    TAP,
    UNIT,
    IMAGES,
    Column("rank", "place of the image among those that drive the unit most, from 0; empty where none does"),
    IMAGE,
    Column("predicted", "output that the network answers with, a number"),
    Column("picture", "name of the stored image"),
    Column("mask", "name of the stored mask: where the unit looks"),
    LAYER,
    EPS,
)
"""What every table of units' pictures says."""
