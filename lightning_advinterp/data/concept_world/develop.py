"""Development: from a canvas of regions to lit pixels and to label layers."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from lightning_advinterp.data.concept_world.canvas import Canvas, Plane
from lightning_advinterp.data.concept_world.compose import Composition
from lightning_advinterp.data.concept_world.palette import name_colors
from lightning_advinterp.data.concept_world.surface import NOISY, PATTERNS, Floats, relief
from lightning_advinterp.data.concept_world.vocabulary import NUMBER

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.uint16]


def oversampling(size: int) -> int:
    """Return how many canvas pixels go into one pixel of a picture, along each side."""
    return 3 if size <= 96 else 2


def develop(picture: Composition, size: int) -> Bytes:
    """Colour and light a composition.

    Args:
        picture: what was drawn.
        size: width and height of the result in pixels.

    Returns:
        uint8 ``[size, size, 3]``.
    """
    canvas, dice = picture.canvas, picture.noise
    low = _grow(dice.field(8, 8), size) - 0.5
    fine = _grow(dice.field(72, 72), size) - 0.5
    grain = dice.field(30, 30)
    rgb = _flat_colors(canvas, low, grain, size)
    small = _sample(canvas, size)
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = axis[None, :], axis[:, None]

    haze = _lookup(canvas, [r.paint.haze for r in canvas.regions])[small]
    haze *= np.exp(-np.abs(y - picture.stage.horizon) * 4.5)
    rgb += haze[..., None] * (np.array(picture.stage.haze, np.float32) - rgb)

    gain = np.ones((size, size), np.float32)
    _add_relief(gain, canvas, small, x, y, low, fine)
    bulge, edge = _modelling(canvas, size, picture.light.side)
    solid = _lookup(canvas, [min(1.0, 0.1 + 1.8 * r.lift) for r in canvas.regions])[small]
    gain += (picture.light.strength * solid) * (0.85 * bulge + 0.4 * edge)
    gain *= _cast_shadow(picture, size)
    _shade_scene(gain, picture, x, y)
    rgb *= gain[..., None] * (np.array(picture.light.tint, np.float32) * picture.light.exposure)

    gloss = _lookup(canvas, [r.paint.gloss for r in canvas.regions])[small]
    shine = np.maximum(bulge - 0.06, 0.0) * gloss
    rgb += (260.0 * picture.light.strength) * shine[..., None]
    np.clip(rgb, 0, 255, out=rgb)
    return rgb.astype(np.uint8)


def label_layers(picture: Composition, image: Bytes) -> dict[str, list[Numbers]]:
    """Return the label layers of a picture, by category; 0 is unlabelled, scenes are not among them."""
    canvas, regions = picture.canvas, picture.canvas.regions
    small = _sample(canvas, image.shape[0])
    planes = canvas.planes

    def layer(category: str, names: list[str]) -> Numbers:
        numbers = [0] + [NUMBER[category, name] if name else 0 for name in names]
        return np.array(numbers, np.uint16)[small]

    return {
        "color": [name_colors(image)],
        "texture": [layer("texture", [planes[r.paint.plane - 1].texture if r.paint.plane else "" for r in regions])],
        "material": [layer("material", [r.paint.material for r in regions])],
        "part": [layer("part", [r.part for r in regions]), layer("part", [r.whole for r in regions])],
        "object": [layer("object", [r.object for r in regions])],
    }


def _lookup(canvas: Canvas, values: list[float]) -> Floats:
    """Return a table over region numbers; number 0 (empty) gets 0."""
    return np.array([0.0, *values], np.float32)


def _sample(canvas: Canvas, size: int) -> Bytes:
    """Return the region number at (or beside) each pixel's centre, ``[size, size]``."""
    step = canvas.resolution // size
    return np.asarray(canvas.image)[step // 2 :: step, step // 2 :: step]


def _grow(field: Floats, size: int) -> Floats:
    """Enlarge (or shrink) a noise field smoothly to ``[size, size]``."""
    return np.asarray(Image.fromarray(field).resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32)


def _flat_colors(canvas: Canvas, low: Floats, grain: Floats, size: int) -> Floats:
    """Return the canvas's colours with its patterns, without light, float32 ``[size, size, 3]``."""
    numbers = np.array(canvas.image)
    of_plane = np.array([0] + [r.paint.plane for r in canvas.regions], np.uint8)[numbers]
    for k, plane in enumerate(canvas.planes, start=1):
        where = of_plane == k
        if not where.any():
            continue
        noise = low + 0.5 if plane.texture == "marbled" else grain
        numbers += (_pattern(plane, canvas.resolution, noise) & where).view(np.uint8) * np.uint8(128)
    palette = bytearray(768)
    for k, region in enumerate(canvas.regions, start=1):
        palette[3 * k : 3 * k + 3] = bytes(int(c + 0.5) for c in region.paint.rgb)
        palette[3 * (k + 128) : 3 * (k + 128) + 3] = bytes(int(c + 0.5) for c in region.paint.alt)
    image = Image.fromarray(numbers)
    image.putpalette(bytes(palette))
    return np.asarray(image.convert("RGB").reduce(canvas.resolution // size), dtype=np.float32)


def _pattern(plane: Plane, resolution: int, noise: Floats) -> NDArray[np.bool_]:
    """Return where a pattern shows, ``[resolution, resolution]``; ``noise`` may be coarser."""
    frame = plane.frame
    axis = (np.arange(resolution, dtype=np.float32) + 0.5) / resolution
    scale = plane.repeats / (frame.xx * frame.yy - frame.xy * frame.yx)
    dx, dy = axis[None, :] - frame.x, axis[:, None] - frame.y
    u = (frame.yy * scale) * dx - (frame.xy * scale) * dy + plane.phase
    v = (frame.xx * scale) * dy - (frame.yx * scale) * dx + plane.phase
    if plane.texture in NOISY:
        noise = _grow(noise, resolution)
    return PATTERNS[plane.texture](u, v, noise)


def _add_relief(gain: Floats, canvas: Canvas, small: Bytes, x: Floats, y: Floats, low: Floats, fine: Floats) -> None:
    names = [r.paint.material for r in canvas.regions]
    order = sorted(set(names))
    which = np.array([255] + [order.index(name) for name in names], np.uint8)[small]
    for k, name in enumerate(order):
        where = which == k
        if where.any() and (field := relief(name, x, y, low, fine)) is not None:
            gain += np.where(where, field, np.float32(0))


def _modelling(canvas: Canvas, size: int, side: float) -> tuple[Floats, Floats]:
    """Return how bodies turn towards the light: broadly (bulge) and along their edges."""
    step = canvas.resolution // size
    table = [0] + [int(200 * r.lift) for r in canvas.regions]
    height = canvas.image.point(table + [0] * (256 - len(table))).reduce(step)
    broad, sharp = (_slope(height, radius * size, side) * (size / 64) for radius in (0.06, 0.014))
    return np.clip(broad * 2.2, -0.45, 0.45), np.clip(sharp, -0.6, 0.6)


def _slope(height: Image.Image, radius: float, side: float) -> Floats:
    """Return the slope of the blurred height towards a light at the upper left (-1) or right (1)."""
    h = np.asarray(height.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32) * (1 / 255)
    h = np.pad(h, 1, mode="edge")
    return 0.8 * (h[2:, 1:-1] - h[:-2, 1:-1]) - (0.6 * side) * (h[1:-1, 2:] - h[1:-1, :-2])


def _cast_shadow(picture: Composition, size: int) -> Floats:
    """Return the gain left by the object's shadow on the ground, float32 ``[size, size]``."""
    canvas, light = picture.canvas, picture.light
    step = canvas.resolution // size
    table = [0] + [255 * r.hero for r in canvas.regions]
    hero = canvas.image.point(table + [0] * (256 - len(table))).reduce(step)
    foot = picture.foot * size
    contact = Image.new("L", (size, size))
    ground = max(picture.stage.horizon + 0.12, 0.9) if picture.floats else picture.foot - 0.01
    half = picture.half_width * (0.7 if picture.floats else 0.85)
    box = (
        (picture.center - half) * size,
        (ground - 0.035) * size,
        (picture.center + half) * size,
        (ground + 0.035) * size,
    )
    ImageDraw.Draw(contact).ellipse(box, fill=200)
    shadow = np.asarray(contact.filter(ImageFilter.GaussianBlur(0.025 * size)), dtype=np.float32)
    if not picture.floats:
        flat = 0.3
        k = light.skew * light.side / flat
        # Output (X, Y) shows the object's point that is (foot - Y) / flat above its foot, moved sideways.
        leaning = hero.transform(
            (size, size), Image.Transform.AFFINE, (1.0, -k, k * foot, 0.0, 1 / flat, foot - foot / flat),
            resample=Image.Resampling.BILINEAR,
        )  # fmt: skip
        shadow = np.maximum(shadow, np.asarray(leaning.filter(ImageFilter.GaussianBlur(0.012 * size)), np.float32))
    below = np.clip((np.arange(size, dtype=np.float32) / size - picture.stage.horizon) * 20, 0, 1)[:, None]
    free = 1 - np.asarray(hero, dtype=np.float32) * (1 / 255)
    return 1 - (light.cast / 255) * shadow * below * free


def _shade_scene(gain: Floats, picture: Composition, x: Floats, y: Floats) -> None:
    """Lay the large light over the picture: a slope, a soft band of shade, darker corners."""
    light = picture.light
    gain *= 1 + light.slope * (light.side * (x - 0.5) - 0.5 * (y - 0.5))
    if light.band >= 0:
        across = (x + 0.5 * (y - 0.5) - light.band) * (1 / 0.2)
        gain *= 1 - 0.25 * np.exp(-across * across)
    gain *= 1 - 0.22 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
