"""Drawings of the animals: bird, dog, cat, fish.

Coordinates are the object's own: x to the right, y downwards, both roughly in [-1, 1]; animals look to the
right and stand on y = 0.95. Each drawing varies its pose and proportions within what keeps it recognisable.
"""

from lightning_advinterp.data.concept_world.canvas import Canvas, bend, ellipse, limb, smooth
from lightning_advinterp.data.concept_world.dice import Dice
from lightning_advinterp.data.concept_world.look import Look


def _eye(canvas: Canvas, look: Look, x: float, y: float, r: float) -> None:
    canvas.polygon(ellipse(x, y, r, r * 1.1), look.light, "eye", "head", 1.0)
    canvas.polygon(ellipse(x + r * 0.2, y, r * 0.58, r * 0.68), look.dark, "eye", "head", 1.0)


def _bird_head(canvas: Canvas, look: Look, dice: Dice, x: float, y: float, r: float) -> None:
    beak = dice.uniform(0.24, 0.36)
    canvas.polygon([(x + r * 0.7, y - 0.15), (x + r + beak, y + 0.04), (x + r * 0.7, y + 0.17)], look.dark, "beak")
    canvas.polygon(ellipse(x, y, r, r), look.main, "head", "", 0.9)
    _eye(canvas, look, x + r * 0.3, y - r * 0.18, r * 0.3)


def draw_bird_flying(canvas: Canvas, look: Look, dice: Dice) -> None:
    """Draw a bird on the wing."""
    lift = dice.uniform(-0.1, 0.15)
    canvas.polygon([(-0.15, -0.05), (0.1, -0.8 + lift), (0.45, -0.9 + lift), (0.35, -0.05)], look.shade, "wing")
    canvas.polygon([(-0.45, 0.05), (-1.0, -0.1), (-0.95, 0.38), (-0.4, 0.3)], look.second, "tail")
    torso = [(-0.6, 0.16), (-0.2, -0.1), (0.35, -0.12), (0.62, 0.1), (0.3, 0.42), (-0.25, 0.42)]
    canvas.polygon(smooth(torso), look.main, "torso")
    wing = [(0.35, 0.02), (0.12, -0.5), (-0.4, -0.95), (-0.72, -0.85), (-0.5, -0.4), (-0.3, 0.08), (0.0, 0.2)]
    canvas.polygon(smooth([(x, y + lift * (y < -0.4)) for x, y in wing]), look.second, "wing", "", 0.95)
    _bird_head(canvas, look, dice, 0.6, -0.08, 0.27)


def draw_bird(canvas: Canvas, look: Look, dice: Dice) -> None:
    """Draw a bird standing."""
    up = dice.uniform(-0.08, 0.08)
    for x in (-0.12, 0.14):
        canvas.polygon(limb([(x, 0.5), (x + 0.02, 0.92), (x + 0.2, 0.93)], 0.09, 0.08), look.dark, "leg")
    canvas.polygon([(-0.4, 0.15), (-1.0, 0.42 + up), (-0.92, 0.68 + up), (-0.3, 0.45)], look.second, "tail")
    torso = [(-0.6, 0.3), (-0.35, -0.1), (0.1, -0.38), (0.5, -0.3), (0.6, 0.1), (0.3, 0.6), (-0.2, 0.66)]
    canvas.polygon(smooth(torso), look.main, "torso")
    wing = [(0.3, 0.02), (0.22, 0.36), (-0.2, 0.48), (-0.72, 0.5 + up), (-0.45, 0.12), (-0.05, -0.12)]
    canvas.polygon(smooth(wing), look.second, "wing", "", 0.95)
    _bird_head(canvas, look, dice, 0.4, -0.52, 0.34)


def _dog_head(canvas: Canvas, look: Look, dice: Dice, x: float, y: float) -> None:
    long = dice.uniform(0.36, 0.5)
    canvas.polygon(limb([(x + 0.1, y + 0.08), (x + long, y + 0.14)], 0.34, 0.26), look.second, "muzzle", "head", 0.9)
    canvas.polygon(ellipse(x, y, 0.32, 0.3), look.main, "head", "", 0.9)
    canvas.polygon(ellipse(x + long + 0.06, y + 0.06, 0.09, 0.08), look.dark, "muzzle", "head", 1.0)
    _eye(canvas, look, x + 0.12, y - 0.08, 0.09)
    hang = dice.uniform(0.3, 0.42)
    ear = [
        (x - 0.3, y - 0.2),
        (x - 0.05, y - 0.26),
        (x + 0.0, y + 0.0),
        (x - 0.1, y + hang),
        (x - 0.32, y + hang * 0.8),
    ]
    canvas.polygon(smooth(ear), look.second, "ear", "head", 1.0)


def draw_dog(canvas: Canvas, look: Look, dice: Dice) -> None:
    """Draw a dog: standing, or sitting; hanging ears, a muzzle, a tail held up."""
    if dice.chance(0.65):
        wag = dice.uniform(-0.15, 0.1)
        canvas.polygon(limb(bend([(-0.62, -0.02), (-0.85, -0.25), (-0.85 + wag, -0.7)]), 0.17, 0.1), look.main, "tail")
        canvas.polygon(limb([(0.42, 0.2), (0.52, 0.93)], 0.2, 0.16), look.shade, "leg")
        canvas.polygon(limb([(-0.4, 0.2), (-0.32, 0.93)], 0.22, 0.16), look.shade, "leg")
        canvas.polygon(limb([(0.26, 0.2), (0.24, 0.93)], 0.24, 0.18), look.main, "leg", "", 0.85)
        canvas.polygon(limb([(-0.58, 0.15), (-0.66, 0.93)], 0.3, 0.18), look.main, "leg", "", 0.85)
        torso = [
            (-0.76, 0.06), (-0.6, -0.18), (-0.1, -0.16), (0.36, -0.3), (0.62, -0.2), (0.58, 0.22),
            (0.3, 0.42), (-0.2, 0.3), (-0.62, 0.34),
        ]  # fmt: skip
        canvas.polygon(smooth(torso), look.main, "torso")
        canvas.polygon(limb([(0.42, -0.05), (0.56, -0.4)], 0.44, 0.36), look.main, "torso")
        _dog_head(canvas, look, dice, 0.56, -0.54)
    else:
        canvas.polygon(limb(bend([(-0.5, 0.8), (-0.85, 0.72), (-0.95, 0.38)]), 0.16, 0.1), look.main, "tail")
        canvas.polygon(limb([(0.26, 0.1), (0.42, 0.93)], 0.2, 0.16), look.shade, "leg")
        torso = [
            (0.0, -0.4), (0.34, -0.3), (0.38, 0.2), (0.1, 0.8), (-0.3, 0.94), (-0.66, 0.86), (-0.6, 0.4),
            (-0.3, 0.0),
        ]  # fmt: skip
        canvas.polygon(smooth(torso), look.main, "torso")
        canvas.polygon(limb([(0.2, 0.05), (0.22, 0.93)], 0.26, 0.18), look.main, "leg", "", 0.85)
        canvas.polygon(ellipse(-0.2, 0.62, 0.3, 0.3), look.main, "leg", "", 0.85)
        canvas.polygon(ellipse(-0.02, 0.88, 0.24, 0.09), look.second, "leg", "", 0.85)
        _dog_head(canvas, look, dice, 0.2, -0.55)


def _cat_head(canvas: Canvas, look: Look, x: float, y: float, r: float) -> None:
    for side in (-1, 1):
        ear = [
            (x + side * r * 0.98, y - r * 0.25),
            (x + side * r * 0.88, y - r * 1.5),
            (x + side * r * 0.12, y - r * 0.8),
        ]
        canvas.polygon(ear, look.second, "ear", "head", 0.9)
    canvas.polygon(ellipse(x, y, r * 1.06, r * 0.92), look.main, "head", "", 0.9)
    for side in (-1, 1):
        canvas.polygon(ellipse(x + side * r * 0.42, y - r * 0.12, r * 0.23, r * 0.25), look.light, "eye", "head", 1.0)
        canvas.polygon(ellipse(x + side * r * 0.42, y - r * 0.12, r * 0.1, r * 0.23), look.dark, "eye", "head", 1.0)
    canvas.polygon(ellipse(x, y + r * 0.42, r * 0.42, r * 0.28), look.light, "muzzle", "head", 1.0)
    canvas.polygon(
        [(x - r * 0.15, y + r * 0.2), (x + r * 0.15, y + r * 0.2), (x, y + r * 0.42)],
        look.dark,
        "muzzle",
        "head",
        1.0,
    )


def draw_cat(canvas: Canvas, look: Look, dice: Dice) -> None:
    """Draw a cat: sitting and facing us, or walking with its head turned; pointed ears, a long tail."""
    if dice.chance(0.6):
        curl = dice.uniform(-0.1, 0.15)
        canvas.polygon(
            limb(bend([(0.3, 0.85), (0.78, 0.75), (0.82, 0.3), (0.7 + curl, 0.02)]), 0.2, 0.14),
            look.second,
            "tail",
        )
        torso = [
            (0.0, -0.25), (0.3, -0.1), (0.42, 0.4), (0.56, 0.78), (0.4, 0.96), (-0.4, 0.96),
            (-0.56, 0.78), (-0.42, 0.4), (-0.3, -0.1),
        ]  # fmt: skip
        canvas.polygon(smooth(torso), look.main, "torso")
        for x in (-0.15, 0.15):
            canvas.polygon(limb([(x, 0.25), (x, 0.92)], 0.2, 0.22), look.second, "leg", "", 0.95)
        _cat_head(canvas, look, dice.uniform(-0.06, 0.06), -0.38, 0.43)
    else:
        wave = dice.uniform(-0.12, 0.12)
        tail = bend([(-0.6, 0.1), (-0.9, -0.1), (-0.82, -0.55), (-0.7 + wave, -0.95)])
        canvas.polygon(limb(tail, 0.17, 0.13), look.second, "tail")
        canvas.polygon(limb([(0.3, 0.3), (0.44, 0.93)], 0.18, 0.14), look.shade, "leg")
        canvas.polygon(limb([(-0.45, 0.3), (-0.32, 0.93)], 0.18, 0.14), look.shade, "leg")
        torso = [
            (-0.76, 0.2), (-0.55, -0.04), (0.0, 0.0), (0.5, -0.12), (0.62, 0.2), (0.4, 0.5),
            (-0.1, 0.46), (-0.6, 0.5),
        ]  # fmt: skip
        canvas.polygon(smooth(torso), look.main, "torso")
        canvas.polygon(limb([(0.28, 0.3), (0.16, 0.93)], 0.2, 0.15), look.main, "leg", "", 0.85)
        canvas.polygon(limb([(-0.55, 0.3), (-0.62, 0.93)], 0.24, 0.16), look.main, "leg", "", 0.85)
        _cat_head(canvas, look, 0.56, -0.28, 0.4)


def draw_fish(canvas: Canvas, look: Look, dice: Dice) -> None:
    """Draw a fish, slim or deep-bodied, with a forked tail and fins above and below."""
    deep = dice.uniform(0.42, 0.62)
    fork = dice.uniform(0.42, 0.6)
    canvas.polygon([(-0.45, 0.0), (-1.0, -fork), (-0.8, 0.0), (-1.0, fork)], look.second, "tail", "", 0.3)
    canvas.polygon(
        smooth([(-0.35, -deep * 0.6), (-0.25, -deep - 0.3), (0.05, -deep - 0.26), (0.35, -deep * 0.7)]),
        look.second, "fin", "", 0.3,
    )  # fmt: skip
    canvas.polygon([(-0.1, deep * 0.7), (-0.3, deep + 0.3), (0.2, deep * 0.75)], look.second, "fin", "", 0.3)
    body = [
        (-0.62, -0.08),
        (-0.1, -deep),
        (0.45, -deep * 0.85),
        (0.92, -0.06),
        (0.92, 0.1),
        (0.45, deep * 0.85),
        (-0.1, deep),
        (-0.62, 0.08),
    ]
    canvas.polygon(smooth(body), look.main, "torso")
    head = [
        (0.42, -deep * 0.86),
        (0.92, -0.06),
        (0.92, 0.1),
        (0.42, deep * 0.86),
        (0.52, deep * 0.3),
        (0.52, -deep * 0.3),
    ]
    canvas.polygon(smooth(head), look.shade, "head", "", 0.85)
    canvas.polygon(smooth([(0.25, 0.05), (-0.15, 0.0), (-0.3, 0.3), (0.05, 0.26)]), look.second, "fin", "", 0.9)
    _eye(canvas, look, 0.62, -0.12, 0.13)
