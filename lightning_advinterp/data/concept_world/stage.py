"""What scenes have in common: the stage, and how sky, hills and ground are laid on it."""

from typing import NamedTuple

from lightning_advinterp.data.concept_world.canvas import (
    IDENTITY,
    Canvas,
    Frame,
    Paint,
    ellipse,
    rectangle,
    smooth,
)
from lightning_advinterp.data.concept_world.dice import Dice
from lightning_advinterp.data.concept_world.palette import RGB, jitter, mix, scaled


class Stage(NamedTuple):
    """A scene as the object and the light meet it.

    Attributes:
        horizon: height of the horizon or of the foot of the wall, as a share of the picture from its top.
        colors: the large colours behind the object, in 0–255.
        haze: colour that far things fade to.
    """

    horizon: float
    colors: tuple[RGB, ...]
    haze: RGB


_SKIES: tuple[tuple[RGB, RGB], ...] = (
    ((150, 196, 232), (236, 242, 242)),
    ((176, 206, 226), (250, 236, 214)),
    ((240, 190, 150), (252, 232, 200)),
    ((186, 192, 206), (226, 228, 230)),
    ((164, 168, 214), (246, 216, 216)),
)


def fill_sky(canvas: Canvas, dice: Dice, horizon: float) -> tuple[RGB, RGB]:
    """Fill the picture with sky, with a sun or clouds; return its colour and its haze."""
    rgb, haze = dice.choice(_SKIES)
    rgb = jitter(rgb, dice, 8)
    canvas.begin("sky")
    canvas.polygon(rectangle(-0.1, -0.1, 1.1, 1.1), Paint(rgb, "sky", haze=0.9))
    if dice.chance(0.35):
        canvas.begin("sun")
        r = dice.uniform(0.05, 0.09)
        canvas.polygon(ellipse(dice.uniform(0.1, 0.9), dice.uniform(0.08, 0.3), r, r), Paint((255, 244, 200), "sky"))
    white = Paint(mix(rgb, (255, 255, 255), 0.65), "sky", haze=0.3)
    for _ in range(dice.integer(0, 2)):
        canvas.begin("cloud", Frame.placed(dice.unit(), dice.uniform(0.06, horizon - 0.2), 0.13, 0.05), lift=0.25)
        canvas.polygon(ellipse(-0.4, 0.2, 0.6, 0.7), white)
        canvas.polygon(ellipse(0.45, 0.25, 0.55, 0.6), white)
        canvas.polygon(ellipse(0.05, -0.2, 0.5, 0.8), white)
    return rgb, haze


def add_hills(canvas: Canvas, dice: Dice, horizon: float, rgb: RGB, material: str, height: float) -> None:
    """Draw two ridges up to ``height`` (a share of the picture) above the horizon, fading into the haze."""
    canvas.begin("mountain", lift=0.2)
    for shade in (1.06, 0.94):
        paint = Paint(scaled(rgb, shade), material, haze=0.75)
        points = [(-0.3, horizon + 0.1)]
        points += [(x, horizon - height * dice.uniform(0.1, 1.0) * shade) for x in (-0.15, 0.15, 0.4, 0.65, 0.9, 1.15)]
        canvas.polygon(smooth([*points, (1.3, horizon + 0.1)]), paint)


def add_ground(
    canvas: Canvas,
    dice: Dice,
    horizon: float,
    rgb: RGB,
    material: str,
    texture: str = "",
    name: str = "ground",
) -> None:
    """Fill the picture below the horizon, with a faint pattern if ``texture`` names one."""
    plane = 0
    if texture:
        plane = canvas.add_plane(texture, IDENTITY, dice.uniform(5.0, 8.0), dice.unit())
    alt = scaled(rgb, 0.87) if sum(rgb) > 300 else scaled(rgb, 1.2)
    canvas.begin(name)
    canvas.polygon(rectangle(-0.1, horizon, 1.1, 1.1), Paint(rgb, material, plane, alt, haze=0.55))
