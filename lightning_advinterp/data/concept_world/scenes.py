"""Scenes: the stages that an object is put on, drawn independent of what the object is.

Backdrops are paler than objects, as in a picture book, so that the object is seen first.
"""

from collections.abc import Callable

from lightning_advinterp.data.concept_world import indoors, outdoors
from lightning_advinterp.data.concept_world.canvas import Canvas
from lightning_advinterp.data.concept_world.dice import Dice
from lightning_advinterp.data.concept_world.stage import Stage

SCENES: dict[str, Callable[[Canvas, Dice], Stage]] = {
    "beach": outdoors.draw_beach,
    "desert": outdoors.draw_desert,
    "forest": outdoors.draw_forest,
    "kitchen": indoors.draw_kitchen,
    "living_room": indoors.draw_living_room,
    "meadow": outdoors.draw_meadow,
    "snowfield": outdoors.draw_snowfield,
    "street": outdoors.draw_street,
    "underwater": outdoors.draw_underwater,
}
"""Drawing of each scene, by name."""
