"""Scenes in a house: kitchen, living room."""

from lightning_advinterp.data.concept_world.canvas import IDENTITY, Canvas, Frame, Paint, ellipse, rectangle
from lightning_advinterp.data.concept_world.dice import Dice
from lightning_advinterp.data.concept_world.palette import RGB, jitter, mix, scaled
from lightning_advinterp.data.concept_world.stage import Stage, add_ground

_WALLS: tuple[RGB, ...] = (
    (214, 222, 206), (236, 220, 190), (200, 216, 228), (232, 204, 200), (222, 214, 232), (206, 200, 190),
)  # fmt: skip


def _window(canvas: Canvas, dice: Dice, x: float, y: float, w: float, h: float) -> None:
    canvas.begin("windowpane", lift=0.25)
    canvas.polygon(rectangle(x, y, x + w, y + h), Paint((240, 236, 226), "painted"), "frame")
    pane = Paint(jitter((178, 212, 232), dice, 12), "glass", gloss=0.6)
    canvas.polygon(rectangle(x + 0.02, y + 0.02, x + w / 2 - 0.008, y + h - 0.02), pane, lift=0.1)
    canvas.polygon(rectangle(x + w / 2 + 0.008, y + 0.02, x + w - 0.02, y + h - 0.02), pane, lift=0.1)


def _room(canvas: Canvas, dice: Dice, wall: RGB, material: str, texture: str, horizon: float) -> None:
    plane = canvas.add_plane(texture, IDENTITY, dice.uniform(6.0, 9.0), dice.unit()) if texture else 0
    canvas.begin("wall")
    canvas.polygon(rectangle(-0.1, -0.1, 1.1, 1.1), Paint(wall, material, plane, mix(wall, (255, 255, 255), 0.4)))


def draw_kitchen(canvas: Canvas, dice: Dice) -> Stage:
    """Draw a kitchen: a tiled wall, a shelf with cups, a worktop."""
    horizon = dice.uniform(0.56, 0.68)
    wall = jitter(dice.choice(_WALLS), dice, 10)
    _room(canvas, dice, wall, "ceramic", dice.choice(("grid", "chequered")), horizon)
    if dice.chance(0.5):
        _window(canvas, dice, dice.choice((0.04, 0.62)), 0.06, 0.34, 0.3)
    shelf = Paint(jitter((150, 112, 76), dice, 16), "wood")
    y = dice.uniform(0.2, 0.3)
    left = dice.choice((0.02, 0.5))
    for k in range(3):
        canvas.begin("cup", Frame.placed(left + 0.08 + 0.15 * k, y - 0.05, 0.045, 0.05), lift=0.4)
        canvas.polygon(
            rectangle(-0.8, -1, 0.8, 1),
            Paint(jitter((200, 150, 130), dice, 50), "ceramic", gloss=0.6),
            "body",
        )
    canvas.begin("table", lift=0.3)
    canvas.polygon(rectangle(left, y, left + 0.48, y + 0.035), shelf)
    top = jitter(dice.choice(((188, 148, 106), (214, 208, 200), (150, 120, 96))), dice, 10)
    canvas.begin("table", lift=0.1)
    canvas.polygon(rectangle(-0.1, horizon, 1.1, 1.1), Paint(top, "wood", haze=0.15))
    canvas.polygon(rectangle(-0.1, horizon, 1.1, horizon + 0.03), Paint(scaled(top, 0.85), "wood"))
    return Stage(horizon, (wall, top), mix(wall, (255, 255, 255), 0.5))


def draw_living_room(canvas: Canvas, dice: Dice) -> Stage:
    """Draw a living room: papered wall with a picture or a window, a lamp, a floor with a carpet."""
    horizon = dice.uniform(0.56, 0.7)
    wall = jitter(dice.choice(_WALLS), dice, 10)
    _room(canvas, dice, wall, "painted", dice.choice(("", "striped", "dotted")), horizon)
    floor = jitter(dice.choice(((176, 132, 92), (150, 110, 80), (204, 178, 144))), dice, 10)
    if dice.chance(0.5):
        _window(canvas, dice, dice.uniform(0.02, 0.6), 0.06, 0.34, 0.34)
    else:
        x, y = dice.uniform(0.05, 0.6), dice.uniform(0.06, 0.16)
        canvas.begin("picture", lift=0.3)
        canvas.polygon(rectangle(x, y, x + 0.28, y + 0.22), Paint((120, 88, 60), "wood"), "frame")
        canvas.polygon(
            rectangle(x + 0.03, y + 0.03, x + 0.25, y + 0.19),
            Paint(jitter((190, 180, 160), dice, 50), "painted"),
        )
    add_ground(canvas, dice, horizon, floor, "wood", "striped" if dice.chance(0.3) else "", "floor")
    canvas.begin("floor")
    canvas.polygon(rectangle(-0.1, horizon - 0.025, 1.1, horizon), Paint((238, 234, 226), "painted"))
    if dice.chance(0.6):
        rug = jitter(dice.choice(((190, 110, 100), (110, 130, 170), (200, 180, 130))), dice, 14)
        plane = canvas.add_plane(dice.choice(("woven", "zigzagged")), IDENTITY, 8.0, dice.unit())
        rx, ry = dice.uniform(0.36, 0.46), (1 - horizon) * 0.36
        canvas.polygon(
            ellipse(0.5, (1 + horizon) / 2 + 0.04, rx, ry),
            Paint(rug, "fabric", plane, mix(rug, (255, 255, 255), 0.25)),
        )
    if dice.chance(0.5):
        x = dice.choice((0.09, 0.91))
        canvas.begin("lamp", lift=0.6)
        canvas.polygon(rectangle(x - 0.012, 0.3, x + 0.012, horizon + 0.06), Paint((90, 84, 80), "metal"), "stem")
        canvas.polygon(
            [(x - 0.05, 0.2), (x + 0.05, 0.2), (x + 0.09, 0.35), (x - 0.09, 0.35)],
            Paint((250, 230, 180), "fabric"),
        )
    return Stage(horizon, (wall, floor), mix(wall, (255, 255, 255), 0.5))
