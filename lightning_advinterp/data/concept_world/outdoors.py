"""Scenes under the sky and the sea: beach, desert, forest, meadow, snowfield, street, underwater."""

from lightning_advinterp.data.concept_world.canvas import (
    IDENTITY,
    Canvas,
    Paint,
    bend,
    ellipse,
    limb,
    rectangle,
)
from lightning_advinterp.data.concept_world.dice import Dice
from lightning_advinterp.data.concept_world.palette import RGB, jitter, mix, scaled
from lightning_advinterp.data.concept_world.props import plant_tree
from lightning_advinterp.data.concept_world.stage import Stage, add_ground, add_hills, fill_sky


def draw_beach(canvas: Canvas, dice: Dice) -> Stage:
    """Draw a beach: sky, a band of sea, sand, perhaps a palm."""
    horizon = dice.uniform(0.4, 0.55)
    sky, haze = fill_sky(canvas, dice, horizon)
    sea = jitter((92, 168, 190), dice, 14)
    canvas.begin("sea")
    canvas.polygon(rectangle(-0.1, horizon - 0.14, 1.1, horizon + 0.1), Paint(sea, "water", haze=0.3))
    sand = jitter((232, 208, 160), dice, 10)
    plane = canvas.add_plane("flecked", IDENTITY, 8.0, dice.unit()) if dice.chance(0.5) else 0
    canvas.begin("ground")
    shore = [(k / 4, horizon + dice.uniform(-0.02, 0.03)) for k in range(-1, 6)]
    canvas.polygon([*bend(shore), (1.3, 1.1), (-0.3, 1.1)], Paint(sand, "sand", plane, scaled(sand, 0.9), haze=0.2))
    if dice.chance(0.5):
        plant_tree(canvas, dice, dice.choice((0.08, 0.92)), horizon + 0.14, dice.uniform(0.26, 0.34), "palm")
    return Stage(horizon, (sky, sea, sand), haze)


def draw_desert(canvas: Canvas, dice: Dice) -> Stage:
    """Draw a desert: dunes or table mountains, perhaps a cactus."""
    horizon = dice.uniform(0.45, 0.6)
    sky, haze = fill_sky(canvas, dice, horizon)
    sand = jitter((226, 170, 116), dice, 14)
    add_hills(canvas, dice, horizon, jitter((206, 136, 96), dice, 14), "stone", 0.3)
    add_ground(canvas, dice, horizon, sand, "sand", "marbled" if dice.chance(0.3) else "")
    if dice.chance(0.55):
        plant_tree(canvas, dice, dice.choice((0.1, 0.9)), horizon + 0.1, dice.uniform(0.14, 0.22), "cactus")
    return Stage(horizon, (sky, sand), haze)


def draw_forest(canvas: Canvas, dice: Dice) -> Stage:
    """Draw a forest: misty green depth, trunks, a mossy floor."""
    horizon = dice.uniform(0.5, 0.62)
    mist = jitter((196, 214, 190), dice, 12)
    canvas.begin("tree")
    canvas.polygon(rectangle(-0.1, -0.1, 1.1, 1.1), Paint(mix(mist, (84, 130, 92), 0.45), "foliage", haze=0.9), "crown")
    ground = jitter((132, 136, 84), dice, 14)
    add_ground(canvas, dice, horizon, ground, "soil", "flecked")
    for haze, width in ((0.7, 0.05), (0.25, 0.08)):
        bark = Paint(jitter((112, 88, 70), dice, 14), "wood", haze=haze)
        for _ in range(3):
            x, foot = dice.unit(), horizon + 0.1 - haze * 0.1
            canvas.begin("tree", lift=0.4)
            canvas.polygon(limb([(x, foot), (x + dice.uniform(-0.03, 0.03), -0.1)], width * 1.2, width), bark, "trunk")
    leaf = Paint(jitter((86, 142, 84), dice, 14), "foliage", haze=0.3)
    for _ in range(4):
        canvas.begin("tree", lift=0.4)
        canvas.polygon(ellipse(dice.unit(), dice.uniform(-0.04, 0.05), 0.2, dice.uniform(0.07, 0.12)), leaf, "crown")
    return Stage(horizon, (mix(mist, (84, 130, 92), 0.3), ground), mist)


def draw_meadow(canvas: Canvas, dice: Dice) -> Stage:
    """Draw a meadow: hills, trees, grass with flecks of blossom."""
    horizon = dice.uniform(0.45, 0.62)
    sky, haze = fill_sky(canvas, dice, horizon)
    grass = jitter(dice.choice(((146, 186, 96), (170, 190, 110), (196, 192, 116))), dice, 10)
    add_hills(canvas, dice, horizon, mix(grass, (90, 130, 110), 0.4), "foliage", 0.2)
    for _ in range(dice.integer(0, 2)):
        plant_tree(canvas, dice, dice.unit(), horizon + 0.03, dice.uniform(0.12, 0.2), dice.choice(("round", "fir")))
    add_ground(canvas, dice, horizon, grass, "foliage", "flecked" if dice.chance(0.5) else "")
    return Stage(horizon, (sky, grass), haze)


def draw_snowfield(canvas: Canvas, dice: Dice) -> Stage:
    """Draw a snowfield: pale hills, snowy firs."""
    horizon = dice.uniform(0.45, 0.6)
    sky, haze = fill_sky(canvas, dice, horizon)
    snow = jitter((242, 246, 252), dice, 7)
    add_hills(canvas, dice, horizon, scaled(snow, 0.9), "snow", 0.3)
    for _ in range(dice.integer(1, 3)):
        plant_tree(
            canvas,
            dice,
            dice.unit(),
            horizon + 0.04,
            dice.uniform(0.12, 0.22),
            dice.choice(("fir", "snowy")),
            0.4,
        )
    add_ground(canvas, dice, horizon, snow, "snow", "flecked" if dice.chance(0.3) else "")
    return Stage(horizon, (sky, snow), haze)


def draw_street(canvas: Canvas, dice: Dice) -> Stage:
    """Draw a street: a row of buildings, pavement, road, perhaps a lamp."""
    horizon = dice.uniform(0.54, 0.66)
    _, haze = fill_sky(canvas, dice, 0.4)
    x = -0.05
    fronts: list[RGB] = []
    while x < 1.0:
        width = dice.uniform(0.24, 0.38)
        top = dice.uniform(0.08, 0.34)
        front = jitter(dice.choice(((206, 168, 146), (196, 190, 178), (222, 206, 170), (176, 186, 196))), dice, 12)
        fronts.append(front)
        canvas.begin("building", lift=0.25)
        canvas.polygon(
            rectangle(x, top, x + width, horizon + 0.01),
            Paint(front, dice.choice(("brick", "stone", "painted")), haze=0.35),
            "wall",
        )
        pane = Paint(scaled(front, dice.choice((0.72, 1.16))), "glass", haze=0.3)
        for row in range(2):
            for column in range(2):
                px, py = x + width * (0.16 + 0.4 * column), top + 0.06 + 0.17 * row
                canvas.polygon(rectangle(px, py, px + width * 0.26, py + 0.1), pane, "window", "", 0.0)
        x += width
    road = jitter((148, 148, 152), dice, 10)
    canvas.begin("road")
    canvas.polygon(rectangle(-0.1, horizon, 1.1, 1.1), Paint(jitter((198, 192, 184), dice, 8), "stone", haze=0.2))
    kerb = horizon + dice.uniform(0.05, 0.1)
    canvas.polygon(rectangle(-0.1, kerb, 1.1, 1.1), Paint(road, "asphalt"))
    white = Paint((228, 226, 216), "painted")
    for k in range(4):
        start = dice.uniform(-0.02, 0.02) + 0.28 * k
        canvas.polygon(
            [
                (start, kerb + 0.14),
                (start + 0.14, kerb + 0.14),
                (start + 0.13, kerb + 0.165),
                (start - 0.01, kerb + 0.165),
            ],
            white,
        )
    if dice.chance(0.5):
        x = dice.choice((0.07, 0.93))
        canvas.begin("lamp", lift=0.5)
        canvas.polygon(rectangle(x - 0.012, 0.22, x + 0.012, horizon + 0.06), Paint((80, 84, 92), "metal"), "stem")
        canvas.polygon(ellipse(x, 0.2, 0.04, 0.05), Paint((252, 240, 200), "glass"))
    return Stage(horizon, (*fronts[:2], road), haze)


def draw_underwater(canvas: Canvas, dice: Dice) -> Stage:
    """Draw the sea floor: blue depth, a sandy bottom, seaweed, bubbles."""
    horizon = dice.uniform(0.58, 0.72)
    water = jitter(dice.choice(((96, 168, 200), (110, 186, 190), (84, 140, 190))), dice, 10)
    haze = mix(water, (255, 255, 255), 0.35)
    canvas.begin("sea")
    canvas.polygon(rectangle(-0.1, -0.1, 1.1, 1.1), Paint(water, "water", haze=0.5))
    add_hills(canvas, dice, horizon, mix(water, (90, 110, 120), 0.5), "stone", 0.22)
    sand = mix(jitter((216, 204, 168), dice, 10), water, 0.25)
    add_ground(canvas, dice, horizon, sand, "sand", "flecked" if dice.chance(0.5) else "")
    for _ in range(dice.integer(2, 4)):
        x, h = dice.unit(), dice.uniform(0.2, 0.42)
        weed = Paint(jitter((70, 140, 96), dice, 20), "foliage", haze=0.2)
        canvas.begin("seaweed", lift=0.4)
        foot = horizon + dice.uniform(0.0, 0.1)
        path = [(x, foot), (x + 0.03, foot - h / 3), (x - 0.03, foot - 2 * h / 3), (x + 0.02, foot - h)]
        canvas.polygon(limb(bend(path), 0.06, 0.02), weed, "stem")
    return Stage(horizon, (water, sand), haze)
