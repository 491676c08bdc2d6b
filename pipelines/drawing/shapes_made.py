"""Shapes of the drawn data set: bottles, cars, houses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipelines.drawing.sprites import Canvas, Point, mirrored, shade
from pipelines.drawing.textures import Colour, Rng, colour, near

_DARK: Colour = (25, 25, 30)


# bottle --------------------------------------------------------------------------------------------------------


def _bottle(rng: Rng, half: Sequence[Point], neck: float) -> Canvas:
    """Draw a bottle of half-widths `half` (x from the axis, y), with cap, label, liquid and gloss."""
    canvas = Canvas()
    glass = colour(rng, None, rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.85))
    outline = mirrored([(0.5 + x, y) for x, y in half])
    canvas.polygon(outline, glass)
    liquid = Canvas()
    liquid.box(0, rng.uniform(0.4, 0.6), 1, 1, near(rng, shade(glass, 0.7), 12))
    if rng.uniform() < 0.6:
        top = rng.uniform(0.52, 0.6)
        liquid.box(0, top, 1, top + 0.2, colour(rng, None, 0.3, 0.9))
        liquid.box(0, top + 0.06, 1, top + 0.1, colour(rng))
    x = rng.uniform(0.42, 0.47)
    gloss = shade(near(rng, (215, 220, 225), 10), rng.uniform(0.7, 1.1))
    liquid.line([(x, 0.1), (x - 0.02, 0.9)], 0.016, gloss)
    canvas.inside(outline, liquid)
    cap = colour(rng)
    canvas.box(0.5 - neck * 1.25, 0.02, 0.5 + neck * 1.25, 0.08, cap)
    canvas.box(0.5 - neck * 1.25, 0.065, 0.5 + neck * 1.25, 0.08, shade(cap, 0.6))
    return canvas


def _wine(rng: Rng) -> Canvas:
    w, n = rng.uniform(0.13, 0.17), 0.045
    return _bottle(rng, [(n, 0.04), (n, 0.33), (w * 0.8, 0.4), (w, 0.48), (w, 0.95), (w * 0.9, 0.98)], n)


def _soda(rng: Rng) -> Canvas:
    w, n = rng.uniform(0.15, 0.19), 0.055
    half = [(n, 0.04), (n, 0.16), (w, 0.36), (w, 0.46), (w * 0.72, 0.58), (w, 0.72), (w, 0.93), (w * 0.8, 0.98)]
    return _bottle(rng, half, n)


def _flask(rng: Rng) -> Canvas:
    w, n = rng.uniform(0.27, 0.34), 0.06
    return _bottle(rng, [(n, 0.04), (n, 0.38), (w * 0.95, 0.88), (w, 0.94), (w * 0.9, 0.98)], n)


# car -----------------------------------------------------------------------------------------------------------


def _car(rng: Rng, body: Sequence[Point], windows: Sequence[Sequence[Point]], wheels: Sequence[float]) -> Canvas:
    """Draw a car from the side: body, windows, seams, lamps and wheels."""
    canvas = Canvas()
    paint = colour(rng)
    glass = near(rng, (150, 180, 200), 25)
    canvas.polygon(body, paint)
    trim = Canvas()
    trim.box(0, 0.6, 1, 0.72, shade(paint, 0.7))
    trim.box(0, 0.47, 1, 0.49, shade(paint, 1.35))
    trim.line([(0.5, 0.3), (0.5, 0.72)], 0.008, shade(paint, 0.5))
    trim.ellipse((0.96, 0.53), (0.03, 0.025), (250, 240, 190))
    trim.ellipse((0.04, 0.53), (0.025, 0.025), (200, 40, 30))
    canvas.inside(body, trim)
    for window in windows:
        canvas.polygon(window, shade(glass, 0.75))
        canvas.polygon([(x * 0.98 + 0.008, y * 0.97 + 0.006) for x, y in window], glass)
    hub = near(rng, (180, 180, 185), 20)
    for x in wheels:
        canvas.ellipse((x, 0.68), (0.092, 0.092), _DARK)
        canvas.ellipse((x, 0.68), (0.052, 0.052), hub)
        for angle in np.arange(5) * 2 * np.pi / 5:
            end = (x + 0.05 * float(np.cos(angle)), 0.68 + 0.05 * float(np.sin(angle)))
            canvas.line([(x, 0.68), end], 0.012, _DARK)
    return canvas


def _sedan(rng: Rng) -> Canvas:
    roof = rng.uniform(0.29, 0.34)
    body = [
        (0.01, 0.66),
        (0.02, 0.49),
        (0.2, 0.46),
        (0.33, roof),
        (0.62, roof),
        (0.76, 0.46),
        (0.97, 0.51),
        (0.99, 0.66),
    ]
    left = [(0.25, 0.46), (0.35, roof + 0.03), (0.48, roof + 0.03), (0.48, 0.46)]
    right = [(0.51, 0.46), (0.51, roof + 0.03), (0.61, roof + 0.03), (0.71, 0.46)]
    return _car(rng, body, [left, right], (0.22, 0.78))


def _van(rng: Rng) -> Canvas:
    roof = rng.uniform(0.14, 0.2)
    body = [(0.02, 0.68), (0.02, roof + 0.02), (0.05, roof), (0.72, roof), (0.84, 0.42), (0.97, 0.48), (0.98, 0.68)]
    panes = [[(x, 0.42), (x, roof + 0.06), (x + 0.15, roof + 0.06), (x + 0.15, 0.42)] for x in (0.08, 0.28, 0.48)]
    panes.append([(0.67, 0.42), (0.67, roof + 0.06), (0.71, roof + 0.06), (0.79, 0.42)])
    return _car(rng, body, panes[int(rng.integers(0, 3)) :], (0.2, 0.8))


def _pickup(rng: Rng) -> Canvas:
    roof = rng.uniform(0.24, 0.28)
    body = [
        (0.01, 0.66),
        (0.01, 0.44),
        (0.44, 0.44),
        (0.47, roof),
        (0.67, roof),
        (0.77, 0.45),
        (0.97, 0.48),
        (0.99, 0.66),
    ]
    pane = [(0.5, 0.44), (0.51, roof + 0.03), (0.655, roof + 0.03), (0.73, 0.44)]
    return _car(rng, body, [pane], (0.2, 0.8))


# house ---------------------------------------------------------------------------------------------------------


def _window(canvas: Canvas, x: float, y: float, w: float, h: float, frame: Colour, glass: Colour) -> None:
    canvas.box(x - w / 2 - 0.012, y - h / 2 - 0.012, x + w / 2 + 0.012, y + h / 2 + 0.012, frame)
    canvas.box(x - w / 2, y - h / 2, x + w / 2, y + h / 2, glass)
    canvas.line([(x, y - h / 2), (x, y + h / 2)], 0.01, frame)
    canvas.line([(x - w / 2, y), (x + w / 2, y)], 0.01, frame)


def _wall(canvas: Canvas, rng: Rng, x0: float, y0: float, x1: float, y1: float, boards: bool) -> Colour:
    wall = colour(rng, None, rng.uniform(0.1, 0.5), rng.uniform(0.5, 0.95))
    canvas.box(x0, y0, x1, y1, wall)
    for y in np.arange(y0 + 0.03, y1, 0.035 if boards else 0.06):
        canvas.line([(x0, float(y)), (x1, float(y))], 0.006, shade(wall, 0.8))
    return wall


def _cottage(rng: Rng) -> Canvas:
    canvas = Canvas()
    frame, glass, roof = (235.0, 235.0, 230.0), near(rng, (110, 150, 180), 25), colour(rng, None, 0.6, 0.55)
    canvas.box(0.7, 0.12, 0.79, 0.4, near(rng, (140, 80, 70), 20))
    _wall(canvas, rng, 0.1, 0.48, 0.9, 0.95, boards=False)
    outline = [(0.02, 0.5), (0.24, 0.17), (0.76, 0.17), (0.98, 0.5)]
    canvas.polygon(outline, roof)
    tiles = Canvas()
    for y in np.arange(0.2, 0.5, 0.05):
        tiles.line([(0, float(y)), (1, float(y))], 0.01, shade(roof, 0.7))
    canvas.inside(outline, tiles)
    canvas.box(0.44, 0.66, 0.57, 0.95, colour(rng, None, 0.7, 0.4))
    for x in (0.26, 0.75):
        _window(canvas, x, 0.68, 0.14, 0.16, frame, glass)
    return canvas


def _tower(rng: Rng) -> Canvas:
    canvas = Canvas()
    _wall(canvas, rng, 0.34, 0.3, 0.66, 0.98, boards=False)
    roof = colour(rng, None, 0.7, 0.6)
    canvas.polygon([(0.28, 0.32), (0.5, 0.02), (0.72, 0.32)], roof)
    canvas.polygon([(0.5, 0.02), (0.72, 0.32), (0.55, 0.32)], shade(roof, 0.7))
    for y in (0.42, 0.56, 0.7):
        _window(canvas, 0.5, y, 0.09, 0.09, (60, 55, 50), near(rng, (230, 210, 120), 25))
    canvas.ellipse((0.5, 0.87), (0.06, 0.06), (60, 45, 40))
    canvas.box(0.44, 0.87, 0.56, 0.98, (60, 45, 40))
    return canvas


def _barn(rng: Rng) -> Canvas:
    canvas = Canvas()
    wall = _wall(canvas, rng, 0.1, 0.45, 0.9, 0.96, boards=True)
    canvas.polygon([(0.1, 0.46), (0.2, 0.24), (0.5, 0.08), (0.8, 0.24), (0.9, 0.46)], wall)
    canvas.line(
        [(0.05, 0.47), (0.18, 0.23), (0.5, 0.06), (0.82, 0.23), (0.95, 0.47)], 0.045, colour(rng, None, 0.3, 0.4)
    )
    white, door = (240.0, 238.0, 230.0), shade(wall, 0.7)
    canvas.box(0.32, 0.58, 0.68, 0.96, white)
    canvas.box(0.34, 0.6, 0.66, 0.96, door)
    canvas.line([(0.34, 0.6), (0.66, 0.96)], 0.02, white)
    canvas.line([(0.66, 0.6), (0.34, 0.96)], 0.02, white)
    _window(canvas, 0.5, 0.33, 0.13, 0.13, white, _DARK)
    return canvas


MADE: dict[str, dict[str, Callable[[Rng], Canvas]]] = {
    "bottle": {"wine-bottle": _wine, "soda-bottle": _soda, "flask": _flask},
    "car": {"sedan": _sedan, "van": _van, "pickup": _pickup},
    "house": {"cottage": _cottage, "tower": _tower, "barn": _barn},
}
"""How each subcategory is drawn, by category."""
