"""The look of one object: which paints its drawing may use."""

from typing import NamedTuple

from lightning_advinterp.data.concept_world.canvas import Canvas, Frame, Paint
from lightning_advinterp.data.concept_world.dice import Dice
from lightning_advinterp.data.concept_world.palette import RGB, draw_swatch, jitter, mix, scaled
from lightning_advinterp.data.concept_world.surface import GLOSS
from lightning_advinterp.data.concept_world.vocabulary import TEXTURE_NAMES


class Look(NamedTuple):
    """Paints of one object; a drawing asks for a role and gets a surface.

    Attributes:
        main: the large surface, sometimes with a pattern.
        shade: the main colour in shadow, plain: limbs on the far side.
        second: another colour of the same material.
        light: pale.
        dark: nearly black.
        glass: panes and lamps.
        leaf: green foliage, whatever the object's own colour.
    """

    main: Paint
    shade: Paint
    second: Paint
    light: Paint
    dark: Paint
    glass: Paint
    leaf: Paint


def make_look(
    canvas: Canvas, dice: Dice, material: str, frame: Frame, against: tuple[RGB, ...], patterned: float = 0.5
) -> Look:
    """Draw the paints of one object at random, independent of what it is.

    Args:
        canvas: takes the pattern of the main surface.
        dice: source of randomness.
        material: of the main surface.
        frame: the object's place; its pattern turns with it.
        against: colours behind the object, that it must stand out from.
        patterned: chance of a pattern on the main surface.
    """
    main = draw_swatch(dice, against, 0.36).rgb
    second = draw_swatch(dice, (main, *against), 0.22).rgb
    gloss = GLOSS.get(material, 0.0)
    plane, alt = 0, main
    if dice.chance(patterned):
        plane = canvas.add_plane(dice.choice(TEXTURE_NAMES), frame, dice.uniform(2.4, 4.0), dice.unit())
        # A pattern in a tint of its own ground keeps the object in one piece; sometimes it is bolder.
        bright = sum(main) > 330
        tint = scaled(main, 0.68) if bright else mix(main, (255, 255, 255), 0.36)
        alt = mix(tint, second, dice.uniform(0.0, 0.45))
    glass = jitter(dice.choice(((168, 206, 226), (196, 222, 232), (70, 88, 112), (250, 226, 150))), dice, 10)
    leaf = jitter(dice.choice(((74, 150, 66), (104, 164, 70), (48, 122, 80))), dice, 12)
    return Look(
        main=Paint(main, material, plane, alt, gloss),
        shade=Paint(scaled(main, 0.72), material, 0, main, gloss),
        second=Paint(second, material, 0, second, gloss),
        light=Paint(jitter((244, 238, 224), dice, 8), material, 0, main, gloss),
        dark=Paint(jitter((46, 44, 50), dice, 10), "rubber", 0, main, 0.15),
        glass=Paint(glass, "glass", 0, glass, 0.8),
        leaf=Paint(leaf, "foliage", 0, leaf, 0.05),
    )
