"""Drawings of the vehicles: airplane, bus, car, truck (see ``animals.py`` for the coordinates)."""

from lightning_advinterp.data.concept_world.canvas import Canvas, ellipse, limb, rectangle, smooth
from lightning_advinterp.data.concept_world.dice import Dice
from lightning_advinterp.data.concept_world.look import Look


def _wheel(canvas: Canvas, look: Look, x: float, y: float, r: float, aspect: float) -> None:
    """Draw a wheel that is round in the picture although the frame is ``aspect`` times wider than high."""
    canvas.polygon(ellipse(x, y, r, r * aspect), look.dark, "wheel", "", 0.6)
    canvas.polygon(ellipse(x, y, r * 0.5, r * 0.5 * aspect), look.light, "wheel", "", 0.9)


def draw_car(canvas: Canvas, look: Look, dice: Dice) -> None:
    """Draw a car from its side: a low body under a short cabin; hatchback or saloon."""
    top = dice.uniform(-0.82, -0.62)
    rear = dice.choice((-0.88, -0.62))
    front = dice.uniform(0.2, 0.34)
    cabin = [(rear, 0.02), (rear + 0.16, top), (front, top), (front + 0.34, 0.02)]
    canvas.polygon(cabin, look.second, "roof")
    pane = top + 0.16
    middle = (rear + front) / 2 + 0.08
    canvas.polygon(
        [(rear + 0.16, 0.0), (rear + 0.26, pane), (middle - 0.05, pane), (middle - 0.05, 0.0)],
        look.glass,
        "window",
        "",
        0.4,
    )
    canvas.polygon(
        [(middle + 0.05, 0.0), (middle + 0.05, pane), (front - 0.03, pane), (front + 0.22, 0.0)],
        look.glass,
        "window",
        "",
        0.4,
    )
    body = [(-0.98, 0.1), (-0.86, -0.04), (0.5, -0.04), (0.9, 0.1), (1.0, 0.3), (0.98, 0.66), (-0.98, 0.66)]
    canvas.polygon(body, look.main, "body")
    canvas.polygon(rectangle(middle - 0.04, 0.02, front + 0.24, 0.56), look.shade, "door", "body", 0.85)
    canvas.polygon(ellipse(0.9, 0.28, 0.09, 0.11), look.glass, "headlight", "body", 1.0)
    for x in (-0.54, 0.58):
        _wheel(canvas, look, x, 0.62, 0.24, 1.5)


def draw_bus(canvas: Canvas, look: Look, dice: Dice) -> None:
    """Draw a bus from its side: one tall box with a row of windows."""
    count = dice.integer(3, 5)
    canvas.polygon([(-0.98, -0.7), (-0.9, -0.88), (0.86, -0.88), (0.97, -0.7)], look.second, "roof")
    canvas.polygon([(-1.0, -0.72), (0.97, -0.72), (1.0, 0.1), (1.0, 0.7), (-1.0, 0.7)], look.main, "body")
    left, right = -0.9, 0.5
    step = (right - left) / count
    for k in range(count):
        x = left + k * step
        canvas.polygon(rectangle(x, -0.56, x + step * 0.8, 0.0), look.glass, "window", "body", 0.3)
    canvas.polygon(rectangle(0.54, -0.56, 0.8, 0.62), look.second, "door", "body", 0.8)
    canvas.polygon(rectangle(0.58, -0.5, 0.76, 0.05), look.glass, "window", "door", 0.3)
    canvas.polygon([(0.85, -0.56), (0.97, -0.56), (1.0, 0.0), (0.85, 0.0)], look.glass, "window", "body", 0.3)
    canvas.polygon(ellipse(0.92, 0.4, 0.07, 0.1), look.glass, "headlight", "body", 1.0)
    for x in (-0.56, 0.4):
        _wheel(canvas, look, x, 0.7, 0.18, 1.4)


def draw_truck(canvas: Canvas, look: Look, dice: Dice) -> None:
    """Draw a truck from its side: a cab in front of a box or a low open bed, three wheels."""
    gap = dice.uniform(0.24, 0.34)
    canvas.polygon(rectangle(-0.98, 0.5, 0.95, 0.68), look.dark, "body", "", 0.4)
    if dice.chance(0.65):
        canvas.polygon(rectangle(-1.0, dice.uniform(-0.95, -0.8), gap - 0.06, 0.54), look.main, "body")
    else:
        canvas.polygon(
            smooth([(-0.9, -0.1), (-0.6, -0.5), (-0.2, -0.62), (0.1, -0.4), (0.16, 0.0)]), look.shade, "body"
        )
        canvas.polygon([(-1.0, -0.2), (gap - 0.08, -0.2), (gap - 0.08, 0.54), (-0.9, 0.54)], look.main, "body")
    cab = [(gap, -0.56), (0.68, -0.56), (0.9, 0.0), (1.0, 0.06), (1.0, 0.62), (gap, 0.62)]
    canvas.polygon(cab, look.second, "cab")
    canvas.polygon(
        [(gap + 0.12, -0.42), (0.62, -0.42), (0.8, 0.0), (gap + 0.12, 0.0)], look.glass, "window", "cab", 0.3
    )
    canvas.polygon(rectangle(gap + 0.1, 0.05, gap + 0.42, 0.52), look.light, "door", "cab", 0.85)
    canvas.polygon(ellipse(0.93, 0.3, 0.07, 0.1), look.glass, "headlight", "cab", 1.0)
    for x in (-0.7, -0.26, 0.62):
        _wheel(canvas, look, x, 0.7, 0.2, 1.35)


def draw_airplane(canvas: Canvas, look: Look, dice: Dice) -> None:
    """Draw an airplane from its side, seen a little from above; with a propeller's cowl or with jets."""
    sweep = dice.uniform(0.25, 0.5)
    canvas.polygon(
        [(0.1, -0.08), (-0.22 - sweep * 0.4, -0.7), (-0.02 - sweep * 0.4, -0.7), (0.45, -0.08)],
        look.shade,
        "wing",
        "",
        0.3,
    )
    if dice.chance(0.5):
        for x in (-0.2, 0.5):
            canvas.polygon(limb([(x, 0.1), (x, 0.6)], 0.07, 0.06), look.dark, "wheel", "", 0.4)
            canvas.polygon(ellipse(x, 0.66, 0.13, 0.2), look.dark, "wheel", "", 0.6)
    canvas.polygon([(-0.62, -0.1), (-1.0, -0.85), (-0.72, -0.85), (-0.32, -0.14)], look.second, "fin", "tail", 0.4)
    body = [
        (-1.0, -0.16), (-0.5, -0.24), (0.3, -0.28), (0.78, -0.2), (1.0, 0.04), (0.8, 0.22), (0.2, 0.28),
        (-0.5, 0.16), (-0.95, -0.02),
    ]  # fmt: skip
    canvas.polygon(smooth(body), look.main, "body")
    canvas.polygon([(0.68, -0.2), (0.86, -0.1), (0.9, 0.0), (0.68, 0.0)], look.glass, "window", "body", 0.4)
    for k in range(4):
        x = -0.36 + 0.24 * k
        canvas.polygon(ellipse(x, -0.07, 0.07, 0.1), look.glass, "window", "body", 0.4)
    canvas.polygon([(-0.55, -0.06), (-1.0, 0.2), (-0.8, 0.22), (-0.3, 0.0)], look.second, "tail", "", 0.9)
    canvas.polygon(
        [(0.36, 0.1), (-0.3 - sweep, 0.86), (-0.02 - sweep, 0.9), (0.02, 0.55), (0.5, 0.12)],
        look.second,
        "wing",
        "",
        0.95,
    )
    canvas.polygon(
        [(-0.12, 0.1), (-0.36 - sweep, 0.84), (-0.02 - sweep, 0.9), (0.46, 0.1)],
        look.second,
        "wing",
        "",
        0.95,
    )
    canvas.polygon(limb([(-0.1, 0.48), (0.28, 0.48)], 0.2, 0.24), look.dark, "engine", "wing", 1.0)
