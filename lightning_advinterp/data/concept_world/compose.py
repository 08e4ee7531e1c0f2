"""Composition: what stands where in picture number ``index``, drawn on a canvas."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from lightning_advinterp.data.concept_world import animals, things, vehicles
from lightning_advinterp.data.concept_world.canvas import Canvas, Frame
from lightning_advinterp.data.concept_world.classes import CLASSES, MATERIALS
from lightning_advinterp.data.concept_world.dice import Dice
from lightning_advinterp.data.concept_world.look import Look, make_look
from lightning_advinterp.data.concept_world.props import FOREGROUND
from lightning_advinterp.data.concept_world.scenes import SCENES
from lightning_advinterp.data.concept_world.stage import Stage
from lightning_advinterp.data.concept_world.vocabulary import SCENE_NAMES

Drawing = Callable[[Canvas, Look, Dice], None]


@dataclass(frozen=True, slots=True)
class Pose:
    """One way to show a class: its drawing, width over height, whether it is off the ground, how often."""

    draw: Drawing
    aspect: float = 1.0
    floats: bool = False
    share: float = 1.0


POSES: dict[str, tuple[Pose, ...]] = {
    "bird": (Pose(animals.draw_bird, share=0.6), Pose(animals.draw_bird_flying, floats=True)),
    "dog": (Pose(animals.draw_dog),),
    "cat": (Pose(animals.draw_cat),),
    "fish": (Pose(animals.draw_fish, 1.15, floats=True),),
    "airplane": (Pose(vehicles.draw_airplane, 1.2, floats=True),),
    "bus": (Pose(vehicles.draw_bus, 1.4),),
    "car": (Pose(vehicles.draw_car, 1.5),),
    "chair": (Pose(things.draw_chair, 0.95),),
    "house": (Pose(things.draw_house),),
    "teapot": (Pose(things.draw_teapot),),
    "truck": (Pose(vehicles.draw_truck, 1.35),),
    "flower": (Pose(things.draw_flower, 0.95),),
}


@dataclass(frozen=True, slots=True)
class Light:
    """How a picture is lit.

    Attributes:
        side: -1 from the left, 1 from the right.
        strength: of the modelling of bodies, around 1.
        exposure: gain of the whole picture.
        tint: gains of red, green, blue.
        slope: change of light across the picture, as a gain.
        band: centre of a soft shadow that crosses the picture, as a share of its width; negative for none.
        cast: how dark cast shadows are, 0 to 1.
        skew: how far a cast shadow leans, in object heights.
    """

    side: float
    strength: float
    exposure: float
    tint: tuple[float, float, float]
    slope: float
    band: float
    cast: float
    skew: float


@dataclass(frozen=True, slots=True)
class Composition:
    """A drawn canvas with what the light needs to know; sizes and places are shares of the picture."""

    canvas: Canvas
    label: int
    scene: str
    stage: Stage
    light: Light
    foot: float
    center: float
    half_width: float
    floats: bool
    noise: Dice


def label_of(index: int, seed: int) -> int:
    """Return the class of picture ``index``; each run of twelve pictures holds every class once."""
    return _class_order(index // len(CLASSES), seed)[index % len(CLASSES)]


@lru_cache(maxsize=64)
def _class_order(run: int, seed: int) -> list[int]:
    dice = Dice(seed, run, 1)
    return sorted(range(len(CLASSES)), key=lambda _: dice.unit())


def compose(index: int, seed: int, resolution: int) -> Composition:
    """Draw picture ``index`` of world ``seed`` on a canvas of the given resolution.

    The resolution is never asked for a random number, so that all resolutions show the same picture.
    """
    label = label_of(index, seed)
    name = CLASSES[label].name
    dice = Dice(seed, index, 2)
    canvas = Canvas(resolution)
    scene = dice.choice(SCENE_NAMES)
    stage = SCENES[scene](canvas, dice)

    pose = _choose_pose(POSES[name], dice)
    half_width = dice.uniform(0.33, 0.46) * (1.0 if pose.aspect > 1.1 else 0.95)
    half_height = half_width / pose.aspect * dice.uniform(0.94, 1.06)
    if pose.floats:
        turn = dice.uniform(-0.22, 0.22)
        foot = dice.uniform(0.02 + 2 * half_height, 0.94)
    else:
        turn = dice.uniform(-0.05, 0.05)
        foot = dice.uniform(max(stage.horizon + 0.1, 2 * half_height - 0.02, 0.72), 0.96)
    center = dice.uniform(half_width - 0.03, 1.03 - half_width)
    frame = Frame.placed(center, foot - half_height * 0.95, half_width, half_height, turn=turn, flip=dice.chance(0.5))

    if dice.chance(0.35):
        _add_bystander(canvas, dice, stage, dice.unit(), dice.uniform(stage.horizon + 0.04, 0.8), 0.09)
    look = make_look(canvas, dice, dice.choice(MATERIALS[name]), frame, stage.colors)
    canvas.begin(name, frame, lift=0.8)
    canvas.hero = True
    pose.draw(canvas, look, dice)
    canvas.hero = False
    if dice.chance(0.45):
        for _ in range(dice.integer(1, 2)):
            side = dice.choice((-1.0, 1.0))
            x = center + side * half_width * dice.uniform(0.55, 1.15)
            _add_bystander(canvas, dice, stage, x, dice.uniform(max(foot, 0.9) + 0.01, 1.02), 0.11)

    warmth = dice.uniform(-0.04, 0.06)
    light = Light(
        side=dice.choice((-1.0, 1.0)),
        strength=dice.uniform(0.8, 1.2),
        exposure=dice.uniform(0.96, 1.12),
        tint=(1.0 + warmth, 1.0, 1.0 - warmth),
        slope=dice.uniform(0.05, 0.25),
        band=dice.uniform(0.0, 1.0) if dice.chance(0.3) else -1.0,
        cast=dice.uniform(0.3, 0.5),
        skew=dice.uniform(0.5, 1.0),
    )
    return Composition(canvas, label, scene, stage, light, foot, center, half_width, pose.floats, dice)


def _choose_pose(poses: tuple[Pose, ...], dice: Dice) -> Pose:
    for pose in poses[:-1]:
        if dice.chance(pose.share):
            return pose
    return poses[-1]


def _add_bystander(canvas: Canvas, dice: Dice, stage: Stage, x: float, foot: float, size: float) -> None:
    name = dice.choice(tuple(FOREGROUND))
    draw, material = FOREGROUND[name]
    half = size * dice.uniform(0.75, 1.2)
    frame = Frame.placed(x, foot - half, half, half, flip=dice.chance(0.5))
    look = make_look(canvas, dice, material, frame, stage.colors, patterned=0.35)
    canvas.begin(name, frame, lift=0.7)
    draw(canvas, look, dice)
