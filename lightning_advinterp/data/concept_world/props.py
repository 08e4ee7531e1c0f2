"""Bystanders: objects that are no class but share materials, textures, colours and parts with the classes."""

import math
from collections.abc import Callable

from lightning_advinterp.data.concept_world.canvas import (
    Canvas,
    Frame,
    Paint,
    bend,
    ellipse,
    limb,
    rectangle,
    smooth,
)
from lightning_advinterp.data.concept_world.dice import Dice
from lightning_advinterp.data.concept_world.look import Look
from lightning_advinterp.data.concept_world.palette import RGB, jitter, mix


def draw_ball(canvas: Canvas, look: Look, dice: Dice) -> None:
    """Draw a ball."""
    canvas.polygon(ellipse(0, 0, 1, 1), look.main)


def draw_bush(canvas: Canvas, look: Look, dice: Dice) -> None:
    """Draw a round bush with a few leaves that stand out."""
    outline = [(-0.95, 1.0), (-1.0, 0.2), (-0.55, -0.45), (0.0, -0.8), (0.6, -0.4), (1.0, 0.25), (0.95, 1.0)]
    canvas.polygon(smooth([(x * dice.uniform(0.9, 1.05), y) for x, y in outline]), look.leaf)
    light = look.leaf._replace(rgb=mix(look.leaf.rgb, (255, 255, 200), 0.25))
    for _ in range(4):
        x, y = dice.uniform(-0.6, 0.6), dice.uniform(-0.3, 0.7)
        canvas.polygon(ellipse(x, y, 0.26, 0.12, dice.uniform(-0.8, 0.8)), light, "leaf", "", 1.0)


def draw_rock(canvas: Canvas, look: Look, dice: Dice) -> None:
    """Draw a rock."""
    grey = dice.uniform(95, 175)
    paint = Paint(jitter((grey, grey, grey), dice, 10), "stone")
    top = dice.uniform(-0.7, -0.3)
    canvas.polygon([(-1, 1), (-0.85, 0.2), (-0.35, top), (0.4, top + 0.1), (0.9, 0.3), (1, 1)], paint)


def draw_crate(canvas: Canvas, look: Look, dice: Dice) -> None:
    """Draw a crate with a lid."""
    canvas.polygon(rectangle(-0.9, -0.4, 0.9, 1.0), look.main, "body")
    canvas.polygon(rectangle(-1.0, -0.75, 1.0, -0.35), look.second, "lid", "", 0.9)
    canvas.polygon(rectangle(-0.2, -0.05, 0.2, 0.15), look.dark, "handle", "body", 0.9)


def draw_cup(canvas: Canvas, look: Look, dice: Dice) -> None:
    """Draw a cup with a handle."""
    canvas.polygon(
        limb(bend([(0.45, -0.5), (1.05, -0.35), (0.95, 0.4), (0.35, 0.5)]), 0.24, 0.22), look.second, "handle"
    )
    canvas.polygon([(-0.85, -0.85), (0.65, -0.85), (0.45, 1.0), (-0.65, 1.0)], look.main, "body")
    canvas.polygon(ellipse(-0.1, -0.85, 0.75, 0.14), look.dark, "body", "", 0.3)


def draw_watering_can(canvas: Canvas, look: Look, dice: Dice) -> None:
    """Draw a watering can: a spout and a handle on a straight body."""
    canvas.polygon(
        limb(bend([(-0.2, -0.35), (-0.8, -0.75), (-1.0, 0.2), (-0.45, 0.7)]), 0.2, 0.18),
        look.second,
        "handle",
    )
    canvas.polygon(limb([(0.2, 0.6), (0.95, -0.6)], 0.3, 0.16), look.second, "spout")
    canvas.polygon([(-0.55, -0.4), (0.35, -0.4), (0.45, 1.0), (-0.65, 1.0)], look.main, "body")


FOREGROUND: dict[str, tuple[Callable[[Canvas, Look, Dice], None], str]] = {
    "ball": (draw_ball, "plastic"),
    "bush": (draw_bush, "foliage"),
    "rock": (draw_rock, "stone"),
    "crate": (draw_crate, "wood"),
    "cup": (draw_cup, "ceramic"),
    "watering_can": (draw_watering_can, "metal"),
}
"""Bystanders near the object, by name: drawing and material."""


def plant_tree(canvas: Canvas, dice: Dice, x: float, foot: float, size: float, kind: str, haze: float = 0.25) -> None:
    """Draw a tree of the background: ``round``, ``fir``, ``snowy`` (a fir), ``palm`` or ``cactus``."""
    canvas.begin("tree", Frame.placed(x, foot - size, size * 0.6, size), lift=0.5)
    bark = Paint(jitter((104, 74, 52), dice, 14), "wood", haze=haze)
    green: RGB = jitter(dice.choice(((70, 130, 62), (96, 148, 66), (52, 104, 70), (190, 130, 50))), dice, 12)
    leaves = Paint((226, 234, 240) if kind == "snowy" else green, "foliage", haze=haze)
    if kind == "cactus":
        body = Paint(jitter((86, 136, 84), dice, 10), "foliage", haze=haze)
        canvas.polygon(limb([(0, 1), (0, -0.8)], 0.5, 0.44), body, "stem")
        for side in (-1, 1):
            y = dice.uniform(-0.1, 0.3)
            canvas.polygon(limb([(0, y), (side * 0.7, y), (side * 0.7, y - 0.6)], 0.32, 0.28), body, "stem")
        return
    canvas.polygon(limb([(0, 1), (0.06, -0.3)], 0.26, 0.16), bark, "trunk")
    if kind == "palm":
        for turn in (-2.7, -2.1, -1.0, -0.4, 0.3, 2.8):
            c, s = math.cos(turn), math.sin(turn)
            canvas.polygon(ellipse(0.06 + 0.6 * c, -0.35 + 0.32 * s, 0.62, 0.12, turn * 0.75), leaves, "leaf")
    elif kind == "round":
        canvas.polygon(ellipse(-0.4, -0.1, 0.55, 0.42), leaves, "crown")
        canvas.polygon(ellipse(0.42, -0.15, 0.55, 0.42), leaves, "crown")
        canvas.polygon(ellipse(0.0, -0.52, 0.62, 0.48), leaves, "crown")
    else:
        canvas.polygon([(-0.8, 0.55), (0.8, 0.55), (0, -0.35)], leaves, "crown")
        canvas.polygon([(-0.62, 0.05), (0.62, 0.05), (0, -1.0)], leaves, "crown")
