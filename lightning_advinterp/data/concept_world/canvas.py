"""A canvas of regions: shapes are drawn as region numbers, and colours and labels are looked up from them.

One byte image holds, for each point, the number of the region seen there. Everything else (colour, texture,
material, part, object, how far the surface bulges) is a property of the region, so labels and picture can
never disagree and a picture costs one drawing pass.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw

from lightning_advinterp.data.concept_world.palette import RGB

Point = tuple[float, float]

_LIMIT = 127  # numbers 128..254 are the same regions where their pattern shows, so a byte holds both


class Paint(NamedTuple):
    """A surface.

    Attributes:
        rgb: colour in 0–255.
        material: name of its material.
        plane: number of the pattern plane that is laid over it (see :meth:`Canvas.add_plane`), 0 for none.
        alt: colour of the pattern.
        gloss: strength of its highlight, 0 (matt) to 1.
        haze: how much it fades towards the horizon's haze, 0 to 1.
    """

    rgb: RGB
    material: str
    plane: int = 0
    alt: RGB = (0.0, 0.0, 0.0)
    gloss: float = 0.0
    haze: float = 0.0


class Frame(NamedTuple):
    """Place of an object: maps its coordinates, roughly [-1, 1]², to the picture's [0, 1]², y downwards."""

    xx: float
    xy: float
    yx: float
    yy: float
    x: float
    y: float

    @classmethod
    def placed(
        cls,
        x: float,
        y: float,
        half_width: float,
        half_height: float,
        *,
        turn: float = 0.0,
        flip: bool = False,
    ) -> "Frame":
        """Return a frame centred on (x, y), turned by ``turn`` radians, mirrored if ``flip``."""
        c, s = math.cos(turn), math.sin(turn)
        sign = -1.0 if flip else 1.0
        return cls(sign * half_width * c, -half_height * s, sign * half_width * s, half_height * c, x, y)

    def apply(self, points: Iterable[Point]) -> list[Point]:
        """Return points of the object's coordinates in the picture's."""
        xx, xy, yx, yy, x, y = self
        return [(xx * u + xy * v + x, yx * u + yy * v + y) for u, v in points]


IDENTITY = Frame(1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


class Plane(NamedTuple):
    """One pattern over some surfaces: its texture, the frame it moves with, its repeats and its phase."""

    texture: str
    frame: Frame
    repeats: float
    phase: float


class Region(NamedTuple):
    """What is seen at a point of the canvas; ``lift`` is how far the surface bulges, 0 (flat) to 1."""

    paint: Paint
    object: str
    part: str
    whole: str
    lift: float
    hero: bool


class Canvas:
    """Draws shapes as region numbers.

    Args:
        resolution: width and height of the region image in its own (fine) pixels.

    Attributes:
        image: mode ``L``, the number of the region at each point; 0 is empty.
        regions: the regions; number n is ``regions[n - 1]``.
        planes: the pattern planes; number n is ``planes[n - 1]``.
        hero: True while the class's own object is drawn.
    """

    def __init__(self, resolution: int) -> None:
        self.resolution = resolution
        self.image = Image.new("L", (resolution, resolution))
        self.regions: list[Region] = []
        self.planes: list[Plane] = []
        self.hero = False
        self._draw = ImageDraw.Draw(self.image)
        self._number: dict[Region, int] = {}
        self.begin("", IDENTITY)

    def begin(self, name: str, frame: Frame = IDENTITY, *, lift: float = 0.0) -> None:
        """Start an object: what is drawn next belongs to it, in its frame, bulging by ``lift``."""
        self.name, self.frame, self.lift = name, frame, lift
        r = self.resolution
        # Pillow's pixel centres are at whole numbers, ours at halves.
        xx, xy, yx, yy, x, y = frame
        self._map = (xx * r, xy * r, yx * r, yy * r, x * r - 0.5, y * r - 0.5)

    def add_plane(self, texture: str, frame: Frame, repeats: float, phase: float) -> int:
        """Add a pattern and return its number."""
        self.planes.append(Plane(texture, frame, repeats, phase))
        return len(self.planes)

    def polygon(
        self,
        points: Iterable[Point],
        paint: Paint,
        part: str = "",
        whole: str = "",
        lift: float | None = None,
    ) -> None:
        """Fill a polygon.

        Args:
            points: corners, in the coordinates of the current frame.
            paint: its surface.
            part: name of the part it shows, empty for none.
            whole: name of the part that this part belongs to in turn (an eye to a head), empty for none.
            lift: how far it bulges, in place of the object's.
        """
        region = Region(paint, self.name, part, whole, self.lift if lift is None else lift, self.hero)
        number = self._number.get(region)
        if number is None:
            if len(self.regions) == _LIMIT:
                raise ValueError(f"a canvas holds at most {_LIMIT} regions, {self.name!r} needs one more")
            self.regions.append(region)
            number = self._number[region] = len(self.regions)
        xx, xy, yx, yy, x, y = self._map
        self._draw.polygon([(xx * u + xy * v + x, yx * u + yy * v + y) for u, v in points], fill=number)


_CIRCLE = tuple((math.cos(2 * math.pi * k / 24), math.sin(2 * math.pi * k / 24)) for k in range(24))


def ellipse(x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> list[Point]:
    """Return the outline of an ellipse with its first axis turned by ``turn`` radians."""
    if turn == 0.0:
        return [(x + rx * u, y + ry * v) for u, v in _CIRCLE]
    c, s = math.cos(turn), math.sin(turn)
    return [(x + rx * u * c - ry * v * s, y + rx * u * s + ry * v * c) for u, v in _CIRCLE]


def rectangle(left: float, top: float, right: float, bottom: float) -> list[Point]:
    """Return the corners of an upright rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _weights(steps: int) -> list[tuple[float, float, float, float]]:
    rows = []
    for k in range(steps):
        t = k / steps
        rows.append(
            (
                (-t + 2 * t * t - t**3) / 2,
                (2 - 5 * t * t + 3 * t**3) / 2,
                (t + 4 * t * t - 3 * t**3) / 2,
                (-t * t + t**3) / 2,
            )
        )
    return rows


_SPLINE = _weights(4)


def smooth(points: Sequence[Point]) -> list[Point]:
    """Return a closed Catmull–Rom curve through the points."""
    n = len(points)
    curve = []
    for k in range(n):
        (ax, ay), (bx, by) = points[k - 1], points[k]
        (cx, cy), (dx, dy) = points[(k + 1) % n], points[(k + 2) % n]
        for a, b, c, d in _SPLINE:
            curve.append((a * ax + b * bx + c * cx + d * dx, a * ay + b * by + c * cy + d * dy))
    return curve


def limb(points: Sequence[Point], start: float, end: float) -> list[Point]:
    """Return the outline of a thick bent line, ``start`` wide at its first point and ``end`` at its last.

    Widths are whole widths; ends are rounded off by one extra point.
    """
    n = len(points)
    left, right = [], []
    for k, (x, y) in enumerate(points):
        (ax, ay), (bx, by) = points[max(k - 1, 0)], points[min(k + 1, n - 1)]
        dx, dy = bx - ax, by - ay
        norm = math.hypot(dx, dy) or 1.0
        half = (start + (end - start) * k / (n - 1)) / 2
        dx, dy = dx / norm * half, dy / norm * half
        if k == 0:
            left.append((x - dx * 0.8, y - dy * 0.8))
        left.append((x - dy, y + dx))
        right.append((x + dy, y - dx))
        if k == n - 1:
            left.append((x + dx * 0.8, y + dy * 0.8))
    return left + right[::-1]


def bend(points: Sequence[Point]) -> list[Point]:
    """Return an open Catmull–Rom curve through the points, for use as the middle line of a :func:`limb`."""
    padded = [points[0], *points, points[-1]]
    curve = []
    for k in range(len(points) - 1):
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = padded[k : k + 4]
        for a, b, c, d in _SPLINE:
            curve.append((a * ax + b * bx + c * cx + d * dx, a * ay + b * by + c * cy + d * dy))
    curve.append(points[-1])
    return curve
