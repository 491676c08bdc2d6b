"""Drawing sprites: the pens of the drawn data set.

A sprite is drawn in unit coordinates (x to the right, y down, both 0..1) on a square of `SIDE` pixels. Its colours
are premultiplied by alpha, so that antialiased edges, resizing and blending stay free of dark fringes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from pipelines.drawing.textures import Colour, Rng, noise
from sppnet.arrays import Pixels

SIDE = 288
"""Pixels of a sprite's side."""

Sprite: TypeAlias = Pixels
Point: TypeAlias = tuple[float, float]

_SHIFT = 6


class Canvas:
    """A transparent square to draw on.

    Attributes:
        pixels: uint8 `[SIDE, SIDE, 4]`, RGB premultiplied by alpha, and alpha.
    """

    def __init__(self) -> None:
        self.pixels: Sprite = np.zeros((SIDE, SIDE, 4), np.uint8)

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        """Fill a polygon."""
        import cv2

        fixed = np.round(np.array(points) * SIDE * 2**_SHIFT).astype(np.int32)
        cv2.fillPoly(self.pixels, [fixed], (*fill, 255), cv2.LINE_AA, _SHIFT)

    def ellipse(self, centre: Point, axes: Point, fill: Colour, angle: float = 0.0) -> None:
        """Fill an ellipse of half axes `axes`, turned by `angle` degrees."""
        turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        x, y = axes[0] * np.cos(turn), axes[1] * np.sin(turn)
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        points = np.stack([centre[0] + c * x - s * y, centre[1] + s * x + c * y], axis=1)
        self.polygon([(float(px), float(py)) for px, py in points], fill)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Colour) -> None:
        """Fill an upright rectangle."""
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill)

    def line(self, points: Sequence[Point], width: float, ink: Colour) -> None:
        """Draw a polyline of a width in unit coordinates."""
        import cv2

        fixed = np.round(np.array(points) * SIDE * 2**_SHIFT).astype(np.int32)
        cv2.polylines(self.pixels, [fixed], False, (*ink, 255), max(1, round(width * SIDE)), cv2.LINE_AA, _SHIFT)

    def inside(self, outline: Sequence[Point], pattern: Canvas) -> None:
        """Lay a pattern over the canvas, within an outline only."""
        mask = Canvas()
        mask.polygon(outline, (0, 0, 0))
        # Integers, rounded: x * y / 255.
        over = (pattern.pixels.astype(np.uint16) * mask.pixels[:, :, 3:] + 127) // 255
        below = (self.pixels * (255 - over[:, :, 3:]) + 127) // 255
        self.pixels = (over + below).astype(np.uint8)


def smooth(points: Sequence[Point], steps: int = 10) -> list[Point]:
    """Return a closed Catmull-Rom curve through the points."""
    p = np.array(points, np.float64)
    before, after, beyond = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (q[:, None] for q in (before, p, after, beyond))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return [(float(x), float(y)) for x, y in curve.reshape(-1, 2)]


def mirrored(points: Sequence[Point]) -> list[Point]:
    """Join the points and their mirror images about x = 0.5 to one closed outline."""
    return [*points, *((1 - x, y) for x, y in reversed(points))]


def shade(base: Colour, factor: float) -> Colour:
    """Make a colour darker (`factor` below 1) or lighter."""
    r, g, b = (min(255.0, c * factor) for c in base)
    return (r, g, b)


def draw_sprite(draw: Callable[[Rng], Canvas], rng: Rng) -> Sprite:
    """Draw one object with light from one side and a grain: uint8 `[SIDE, SIDE, 4]`, premultiplied by alpha."""
    pixels = draw(rng).pixels.astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.linspace(-1, 1, SIDE, dtype=np.float32)
    light = np.float32(np.cos(angle)) * ramp[None, :] + np.float32(np.sin(angle)) * ramp[:, None]
    light = (
        1
        + np.float32(rng.uniform(0.05, 0.35)) * light
        + np.float32(rng.uniform(0.02, 0.08)) * noise(rng, SIDE, SIDE, 48, finest=6)
    )
    alpha = pixels[:, :, 3:]
    pixels[:, :, :3] = np.clip(pixels[:, :, :3] * light[:, :, None], 0, alpha)
    return np.round(pixels).astype(np.uint8)
