"""How a scene becomes pixels: big shaded shapes on a bright or dark, plain, striped or dotted ground.

The labels are meant to be seen at 32 pixels: grounds have next to no colour and things a strong one, things fill a
large part of the picture, light and pattern of the ground contrast strongly.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ml_images.sample.scenes import Scene, Thing

Pixels = NDArray[np.float32]

_RGB = {
    "red": (222, 38, 42),
    "orange": (250, 138, 22),
    "yellow": (252, 216, 38),
    "green": (40, 166, 72),
    "blue": (42, 104, 228),
    "purple": (152, 58, 192),
    "white": (250, 250, 250),
    "grey": (128, 130, 134),
}
_DAY = ((228, 222, 208), (212, 223, 234), (218, 230, 214), (234, 220, 224))
_NIGHT = ((32, 35, 54), (44, 38, 46), (28, 43, 46))

_FINER = 2  # drawn twice as large and scaled down, for smooth edges
_NOISE = 2.5  # standard deviation of the grain, of 255: pictures are never the same twice, JPEG sizes look real


def paint(scene: Scene, width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """The scene as an RGB picture of width x height pixels."""
    canvas = _ground(scene, width * _FINER, height * _FINER, rng)
    for thing, (x, y, radius) in zip(scene.things, _places(len(scene.things), width, height, rng), strict=True):
        _add(canvas, thing, x * _FINER, y * _FINER, radius * _FINER, rng)
    drawn = Image.fromarray(canvas.clip(0, 255).astype(np.uint8)).resize((width, height), Image.Resampling.BOX)
    grain = rng.normal(0, _NOISE, (height, width, 1))
    return Image.fromarray((np.asarray(drawn) + grain).clip(0, 255).astype(np.uint8))


def _ground(scene: Scene, width: int, height: int, rng: np.random.Generator) -> Pixels:
    """Pixels (height, width, 3) of the backdrop."""
    tints = _DAY if scene.light == "day" else _NIGHT
    base = np.array(tints[int(rng.integers(len(tints)))], np.float32)
    y, x = (axis.astype(np.float32) for axis in np.ogrid[0:height, 0:width])
    shade = np.tile(10 * (y / height - 0.5) * rng.choice([-1, 1]), (1, width))
    unit = min(width, height) * rng.uniform(0.17, 0.25)
    if scene.pattern == "stripes":
        angle = rng.choice([0, 0.25, 0.5, 0.75]) * np.pi
        wave = (x * np.cos(angle) + y * np.sin(angle)) / unit % 1
        shade += (wave < 0.5) * np.float32(-70 if scene.light == "day" else 58)
    elif scene.pattern == "dots":
        column, row = x / unit + rng.random(), y / unit + rng.random()
        column = column + np.floor(row) % 2 * 0.5  # every other row is set off by half a step
        distance = np.hypot(column % 1 - 0.5, row % 1 - 0.5)
        shade += (distance < 0.27) * np.float32(-105 if scene.light == "day" else 150)
    return (base + shade[:, :, None]).astype(np.float32)


def _places(things: int, width: int, height: int, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Centre and radius of each thing; two things share the longer side."""
    short, long = min(width, height), max(width, height)
    places = []
    for i in range(things):
        radius = short * rng.uniform(0.34, 0.43) if things == 1 else min(long * rng.uniform(0.21, 0.24), short * 0.43)
        along = long * (2 * i + 1) / (2 * things) + rng.uniform(-0.5, 0.5) * max(0.0, long / things - 2 * radius)
        across = short / 2 + rng.uniform(-0.5, 0.5) * max(0.0, short - 2 * radius)
        places.append((along, across, radius) if width >= height else (across, along, radius))
    return places


def _add(canvas: Pixels, thing: Thing, x: float, y: float, radius: float, rng: np.random.Generator) -> None:
    """Draw one thing into the canvas, with a darker rim and light from the upper left."""
    turn = rng.uniform(-0.16, 0.16)
    size = (canvas.shape[1], canvas.shape[0])
    body = _mask(size, thing.shape, x, y, radius, turn)
    core = _mask(size, thing.shape, x, y, radius * 0.93, turn, inset=radius * 0.07)
    rows, columns = np.nonzero(core)
    light = 1 - 0.14 * ((columns - x) + (rows - y)) / (2 * radius)
    colour = np.array(_RGB[thing.colour], np.float32)
    canvas[body] = colour * 0.68
    canvas[core] = colour * light[:, None].clip(0.85, 1.12)


def _mask(
    size: tuple[int, int], shape: str, x: float, y: float, radius: float, turn: float, inset: float = 0
) -> NDArray[np.bool_]:
    image = Image.new("1", size)
    draw = ImageDraw.Draw(image)
    if shape in ("circle", "ring"):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
        if shape == "ring":
            hole = radius * 0.5 + inset
            draw.ellipse((x - hole, y - hole, x + hole, y + hole), fill=0)
    else:
        draw.polygon([_turned(point, x, y, radius, turn) for point in _CORNERS[shape]], fill=1)
    return np.asarray(image)


def _turned(point: tuple[float, float], x: float, y: float, radius: float, turn: float) -> tuple[float, float]:
    px, py = point
    return (
        float(x + radius * (px * np.cos(turn) - py * np.sin(turn))),
        float(y + radius * (px * np.sin(turn) + py * np.cos(turn))),
    )


def _on_circle(radii: Sequence[float], first: float = -90) -> list[tuple[float, float]]:
    """Corners at equal angles, the first one straight up."""
    angles = np.deg2rad(first + np.arange(len(radii)) * 360 / len(radii))
    return [(float(r * np.cos(a)), float(r * np.sin(a))) for r, a in zip(radii, angles, strict=True)]


# Corners in units of the radius, y downwards.
_CORNERS: dict[str, list[tuple[float, float]]] = {
    "triangle": [(0, -1), (1, 0.9), (-1, 0.9)],
    "square": [(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)],
    "star": _on_circle([1.08, 0.48] * 5),
    "cross": [
        *((-0.34, -1), (0.34, -1), (0.34, -0.34), (1, -0.34), (1, 0.34), (0.34, 0.34)),
        *((0.34, 1), (-0.34, 1), (-0.34, 0.34), (-1, 0.34), (-1, -0.34), (-0.34, -0.34)),
    ],
}
