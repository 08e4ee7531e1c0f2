"""Drawings of things and of the plant: chair, house, teapot, flower (coordinates as in ``animals.py``)."""

import math

from lightning_advinterp.data.concept_world.canvas import Canvas, bend, ellipse, limb, rectangle, smooth
from lightning_advinterp.data.concept_world.dice import Dice
from lightning_advinterp.data.concept_world.look import Look


def draw_chair(canvas: Canvas, look: Look, dice: Dice) -> None:
    """Draw a chair from its front and a little from the side: panel or slatted back, perhaps with arms."""
    w, top = dice.uniform(0.5, 0.6), dice.uniform(-1.0, -0.85)
    dx, dy = 0.24, -0.16  # from a front corner to the one behind it
    leg = dice.uniform(0.12, 0.17)
    for x in (-w + dx, w + dx - 0.05):
        canvas.polygon(limb([(x, 0.2), (x, 0.82)], leg, leg * 0.8), look.shade, "leg")
    style = dice.integer(0, 2)
    left, right, low = -w + dx, w + dx, 0.22 + dy
    if style == 0:
        canvas.polygon(
            smooth([(left, low), (left - 0.02, top + 0.1), (0.2, top), (right, top + 0.1), (right, low)]),
            look.main,
            "back",
        )
    else:
        for x in (left + 0.06, right - 0.06):
            canvas.polygon(limb([(x, low + 0.1), (x, top)], 0.15, 0.14), look.second, "back")
        if style == 1:
            for k in range(3):
                y = top + 0.1 + 0.29 * k
                canvas.polygon(rectangle(left, y, right, y + 0.17), look.main, "back", "", 0.9)
        else:
            canvas.polygon(rectangle(left, top + 0.02, right, top + 0.2), look.main, "back", "", 0.9)
            for k in range(3):
                x = left + (right - left) * (k + 1) / 4
                canvas.polygon(rectangle(x - 0.06, top + 0.15, x + 0.06, low), look.main, "back", "", 0.9)
    for x in (-w + 0.05, w - 0.07):
        canvas.polygon(limb([(x, 0.25), (x - 0.02, 0.95)], leg * 1.15, leg), look.second, "leg", "", 0.9)
    canvas.polygon(
        [(-w - 0.05, 0.24), (left - 0.02, low), (right + 0.02, low), (w + 0.02, 0.24)],
        look.main,
        "seat",
        "",
        0.9,
    )
    canvas.polygon(rectangle(-w - 0.05, 0.23, w + 0.02, 0.37), look.second, "seat", "", 0.7)
    if dice.chance(0.4):
        for x in (-w, w):
            canvas.polygon(
                limb([(x + dx, -0.28), (x - 0.02, -0.12), (x - 0.02, 0.26)], 0.13, 0.12),
                look.second,
                "armrest",
                "",
                1.0,
            )


def draw_house(canvas: Canvas, look: Look, dice: Dice) -> None:
    """Draw a house from its front: gabled or hipped roof, a door, two to four windows, often a chimney."""
    eaves = dice.uniform(-0.28, -0.05)
    flat = dice.choice((0.0, 0.45))
    if dice.chance(0.7):
        x = dice.choice((-0.5, 0.4))
        canvas.polygon(rectangle(x, -0.92, x + 0.2, -0.2), look.second, "chimney")
    canvas.polygon(rectangle(-0.8, eaves - 0.05, 0.8, 0.95), look.main, "wall")
    canvas.polygon(
        [(-1.0, eaves + 0.05), (-flat, -0.95), (flat, -0.95), (1.0, eaves + 0.05)],
        look.second,
        "roof",
        "",
        0.95,
    )
    door = dice.choice((-0.16, -0.56, 0.24))
    canvas.polygon(rectangle(door, 0.36, door + 0.32, 0.95), look.shade, "door", "wall", 0.3)
    canvas.polygon(ellipse(door + 0.25, 0.67, 0.04, 0.045), look.light, "handle", "door", 1.0)
    row = eaves + 0.16
    for x in (-0.6, 0.24):
        _window(canvas, look, x, row, 0.36, 0.32)
    for x in (-0.6, 0.24):
        if x > door + 0.34 or x + 0.36 < door:
            _window(canvas, look, x, 0.46, 0.36, 0.28)


def _window(canvas: Canvas, look: Look, x: float, y: float, w: float, h: float) -> None:
    canvas.polygon(rectangle(x - 0.04, y - 0.04, x + w + 0.04, y + h + 0.04), look.light, "window", "wall", 0.9)
    canvas.polygon(rectangle(x, y, x + w / 2 - 0.02, y + h), look.glass, "window", "wall", 0.2)
    canvas.polygon(rectangle(x + w / 2 + 0.02, y, x + w, y + h), look.glass, "window", "wall", 0.2)


def draw_teapot(canvas: Canvas, look: Look, dice: Dice) -> None:
    """Draw a teapot: round or squat, with a bent spout, a ring for a handle and a knobbed lid."""
    tall = dice.uniform(0.5, 0.62)
    y = 0.92 - tall
    handle = bend([(-0.42, y - 0.26), (-0.92, y - 0.36), (-0.98, y + 0.12), (-0.45, y + 0.3)])
    canvas.polygon(limb(handle, 0.16, 0.15), look.second, "handle", "", 0.8)
    tip = dice.uniform(-0.5, -0.3)
    canvas.polygon(
        limb(bend([(0.42, y + 0.25), (0.74, y + 0.02), (0.98, y + tip)]), 0.36, 0.17),
        look.second,
        "spout",
        "",
        0.8,
    )
    canvas.polygon(rectangle(-0.32, 0.8, 0.32, 0.96), look.second, "body", "", 0.5)
    wide = [
        (0.0, y - tall),
        (0.42, y - tall * 0.8),
        (0.62, y),
        (0.5, y + tall * 0.7),
        (0.0, y + tall),
        (-0.5, y + tall * 0.7),
        (-0.62, y),
        (-0.42, y - tall * 0.8),
    ]
    canvas.polygon(smooth(wide), look.main, "body")
    lid = y - tall * 0.78
    canvas.polygon(ellipse(0.0, lid - 0.3, 0.13, 0.14), look.light, "lid", "", 1.0)
    canvas.polygon(
        smooth(
            [
                (-0.42, lid + 0.04),
                (-0.26, lid - 0.18),
                (0.26, lid - 0.18),
                (0.42, lid + 0.04),
                (0.0, lid + 0.1),
            ]
        ),
        look.second,
        "lid",
        "",
        0.9,
    )


def draw_flower(canvas: Canvas, look: Look, dice: Dice) -> None:
    """Draw a flower: one large bloom of five to nine petals on a leafy stem, sometimes in a pot."""
    petals = dice.integer(5, 9)
    potted = dice.chance(0.4)
    lean = dice.uniform(-0.12, 0.12)
    y, reach = -0.36, dice.uniform(0.4, 0.46)
    foot = 0.6 if potted else 0.97
    canvas.polygon(limb(bend([(0.0, foot), (lean, 0.4), (0.0, y)]), 0.13, 0.1), look.leaf, "stem", "", 0.6)
    for side in (-1, 1):
        turn = side * dice.uniform(-0.65, -0.3)
        canvas.polygon(ellipse(lean + side * 0.36, 0.38, 0.36, 0.15, turn), look.leaf, "leaf", "", 0.8)
    if potted:
        canvas.polygon([(-0.4, 0.56), (0.4, 0.56), (0.3, 0.97), (-0.3, 0.97)], look.second, "pot")
        canvas.polygon(rectangle(-0.46, 0.5, 0.46, 0.64), look.second, "pot", "", 0.9)
    start = dice.uniform(0.0, 2 * math.pi)
    width = min(1.5 / petals, 0.26)
    for k in range(petals):
        turn = start + 2 * math.pi * k / petals
        paint = look.main if k % 2 == 0 or petals % 2 else look.shade
        canvas.polygon(
            ellipse(reach * 0.92 * math.cos(turn), y + reach * 0.92 * math.sin(turn), reach * 0.6, width, turn),
            paint,
            "petal",
            "",
            0.5 + 0.3 * (k % 2),
        )
    canvas.polygon(ellipse(0.0, y, 0.23, 0.23), look.second, "disc", "", 1.0)
