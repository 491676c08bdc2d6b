"""Shapes of the drawn data set: butterflies, fish, flowers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipelines.drawing.sprites import Canvas, Point, shade, smooth
from pipelines.drawing.textures import Colour, Rng, colour, near

_DARK: Colour = (25, 25, 30)


# butterfly -----------------------------------------------------------------------------------------------------


def _butterfly(
    rng: Rng, fore: Sequence[Point], hind: Sequence[Point], mark: Callable[[Canvas, Colour], None]
) -> Canvas:
    """Draw two pairs of wings given as right halves, dark rims, a pattern, a body with feelers."""
    canvas = Canvas()
    wing, rim = colour(rng, None, 0.8, 0.85), near(rng, _DARK, 10)
    lower = near(rng, wing, 25)
    for shape, fill in ((hind, lower), (fore, wing)):
        for side in (1, -1):
            outline = smooth([(0.5 + side * (x - 0.5), y) for x, y in shape])
            canvas.polygon(outline, rim)
            middle = np.mean(outline, axis=0)
            inner = [
                (float(m + 0.86 * (p - m)), float(n + 0.86 * (q - n)))
                for (p, q), (m, n) in ((point, middle) for point in outline)
            ]
            canvas.polygon(inner, fill)
            marks = Canvas()
            mark(marks, rim)
            canvas.inside(inner, marks)
    canvas.ellipse((0.5, 0.52), (0.028, 0.24), shade(rim, 1.6))
    for side in (1, -1):
        canvas.line([(0.5, 0.3), (0.5 + side * 0.06, 0.18), (0.5 + side * 0.12, 0.12)], 0.012, rim)
    return canvas


def _monarch(rng: Rng) -> Canvas:
    def veins(canvas: Canvas, ink: Colour) -> None:
        for side in (1, -1):
            for angle in np.linspace(-1.2, 1.2, 8):
                canvas.line([(0.5, 0.5), (0.5 + side * np.cos(angle), 0.5 + np.sin(angle))], 0.012, ink)

    fore = [(0.51, 0.48), (0.6, 0.25), (0.85, 0.12), (0.95, 0.2), (0.88, 0.42), (0.7, 0.54)]
    hind = [(0.51, 0.5), (0.7, 0.5), (0.86, 0.62), (0.78, 0.82), (0.62, 0.82), (0.53, 0.66)]
    return _butterfly(rng, fore, hind, veins)


def _swallowtail(rng: Rng) -> Canvas:
    def bars(canvas: Canvas, ink: Colour) -> None:
        for side in (1, -1):
            for x in (0.12, 0.22, 0.32, 0.42):
                canvas.line([(0.5 + side * x * 0.6, 0.1), (0.5 + side * x, 0.9)], 0.03, ink)

    fore = [(0.51, 0.44), (0.62, 0.2), (0.94, 0.06), (0.9, 0.3), (0.7, 0.5)]
    hind = [
        (0.51, 0.48),
        (0.72, 0.48),
        (0.8, 0.64),
        (0.72, 0.78),
        (0.74, 0.97),
        (0.68, 0.96),
        (0.64, 0.78),
        (0.54, 0.66),
    ]
    return _butterfly(rng, fore, hind, bars)


def _moth(rng: Rng) -> Canvas:
    spot = colour(rng, None, 0.7, 0.95)

    def eyes(canvas: Canvas, ink: Colour) -> None:
        for side in (1, -1):
            for centre, r in (((0.5 + side * 0.28, 0.42), 0.085), ((0.5 + side * 0.2, 0.66), 0.06)):
                canvas.ellipse(centre, (r, r), ink)
                canvas.ellipse(centre, (r * 0.7, r * 0.7), spot)
                canvas.ellipse(centre, (r * 0.35, r * 0.35), ink)

    fore = [(0.51, 0.34), (0.7, 0.3), (0.97, 0.38), (0.93, 0.52), (0.7, 0.58), (0.53, 0.52)]
    hind = [(0.51, 0.5), (0.72, 0.54), (0.84, 0.68), (0.7, 0.78), (0.55, 0.68)]
    return _butterfly(rng, fore, hind, eyes)


# fish ----------------------------------------------------------------------------------------------------------


def _fish(
    rng: Rng, body: Sequence[Point], fins: Sequence[Sequence[Point]], bands: Sequence[float], eye: Point
) -> Canvas:
    """Draw a fish that looks to the right: fins below the body, bands, a belly, scales, gill and eye."""
    canvas = Canvas()
    skin = colour(rng, None, rng.uniform(0.3, 0.9))
    second = colour(rng)
    fin = near(rng, shade(skin, 0.75), 15)
    for points in fins:
        canvas.polygon(smooth(points), fin)
    outline = smooth(body)
    canvas.polygon(outline, skin)
    pattern = Canvas()
    pattern.ellipse((0.5, 0.78), (0.5, 0.2), shade(skin, 1.3))
    for x in bands:
        pattern.line([(x, 0), (x - 0.03, 0.5), (x, 1)], 0.055, second)
    for x in np.linspace(0.2, 0.75, 9):
        for y in np.linspace(0.3, 0.7, 7):
            pattern.ellipse((float(x), float(y + 0.02 * np.sin(9 * x))), (0.009, 0.012), shade(skin, 0.75))
    canvas.inside(outline, pattern)
    gill = [(eye[0] - 0.08, eye[1] - 0.06), (eye[0] - 0.1, eye[1] + 0.02), (eye[0] - 0.08, eye[1] + 0.09)]
    canvas.line(gill, 0.012, shade(skin, 0.5))
    canvas.ellipse(eye, (0.032, 0.032), (240, 240, 235))
    canvas.ellipse(eye, (0.018, 0.018), _DARK)
    return canvas


def _clownfish(rng: Rng) -> Canvas:
    h = rng.uniform(0.17, 0.22)
    body = [(0.24, 0.5), (0.42, 0.5 - h * 0.8), (0.68, 0.5 - h), (0.95, 0.48), (0.7, 0.5 + h), (0.42, 0.5 + h * 0.8)]
    tail = [(0.28, 0.5), (0.06, 0.34), (0.1, 0.5), (0.06, 0.66)]
    top = [(0.4, 0.4), (0.5, 0.24), (0.68, 0.26), (0.74, 0.4)]
    return _fish(rng, body, [tail, top, [(0.5, 0.6), (0.52, 0.78), (0.62, 0.64)]], (0.34, 0.54, 0.74), (0.84, 0.45))


def _angelfish(rng: Rng) -> Canvas:
    body = [(0.28, 0.5), (0.45, 0.3), (0.65, 0.26), (0.92, 0.5), (0.65, 0.74), (0.45, 0.7)]
    top = [(0.66, 0.3), (0.4, 0.2), (0.18, 0.02), (0.36, 0.42)]
    low = [(0.66, 0.7), (0.4, 0.8), (0.18, 0.98), (0.36, 0.58)]
    return _fish(rng, body, [[(0.32, 0.5), (0.1, 0.38), (0.14, 0.62)], top, low], (0.42, 0.66), (0.82, 0.46))


def _shark(rng: Rng) -> Canvas:
    body = [(0.14, 0.5), (0.4, 0.41), (0.66, 0.39), (0.98, 0.5), (0.66, 0.6), (0.4, 0.57)]
    tail = [(0.18, 0.5), (0.02, 0.3), (0.06, 0.5), (0.04, 0.64)]
    back = [(0.48, 0.42), (0.46, 0.24), (0.6, 0.41)]
    return _fish(rng, body, [tail, back, [(0.56, 0.56), (0.44, 0.72), (0.66, 0.58)]], (), (0.87, 0.475))


# flower --------------------------------------------------------------------------------------------------------


def _petals(canvas: Canvas, rng: Rng, count: int, reach: float, axes: Point) -> None:
    petal = colour(rng, None, rng.uniform(0.3, 0.9), rng.uniform(0.6, 0.98))
    start = rng.uniform(0, 360)
    for i in range(count):
        angle = start + 360 * i / count
        c, s = float(np.cos(np.radians(angle))), float(np.sin(np.radians(angle)))
        centre = (0.5 + reach * c, 0.5 + reach * s)
        canvas.ellipse(centre, axes, shade(petal, 0.62), angle)
        tone = near(rng, petal, 7)
        canvas.ellipse(centre, (axes[0] * 0.9, axes[1] * 0.84), tone, angle)
        canvas.line([(0.5, 0.5), centre], 0.01, shade(petal, 0.75))


def _daisy(rng: Rng) -> Canvas:
    canvas = Canvas()
    _petals(canvas, rng, int(rng.integers(13, 18)), 0.29, (0.19, 0.055))
    heart = colour(rng, rng.uniform(0.06, 0.16), 0.9, 0.9)
    canvas.ellipse((0.5, 0.5), (0.13, 0.13), shade(heart, 0.7))
    for _ in range(40):
        x, y = rng.normal(0.5, 0.05, 2)
        canvas.ellipse((float(x), float(y)), (0.014, 0.014), near(rng, heart, 20))
    return canvas


def _pansy(rng: Rng) -> Canvas:
    canvas = Canvas()
    _petals(canvas, rng, 5, 0.25, (0.21, 0.19))
    dark = colour(rng, rng.uniform(0.7, 0.95), 0.8, 0.3)
    for angle in np.arange(5) * 72.0:
        c, s = float(np.cos(np.radians(angle))), float(np.sin(np.radians(angle)))
        canvas.ellipse((0.5 + 0.09 * c, 0.5 + 0.09 * s), (0.1, 0.03), dark, float(angle))
    canvas.ellipse((0.5, 0.5), (0.06, 0.06), (240, 210, 60))
    return canvas


def _tulip(rng: Rng) -> Canvas:
    canvas = Canvas()
    green = colour(rng, rng.uniform(0.25, 0.4), 0.6, 0.5)
    canvas.line([(0.5, 0.4), (0.49, 0.98)], 0.035, green)
    for side in (1, -1):
        leaf = [(0.5, 0.95), (0.5 + side * 0.1, 0.75), (0.5 + side * 0.22, 0.52), (0.5 + side * 0.17, 0.8)]
        canvas.polygon(smooth(leaf), near(rng, green, 12))
    petal = colour(rng, None, 0.8, 0.9)
    for x, tone in ((0.4, 0.7), (0.6, 0.78), (0.5, 1.0)):
        canvas.polygon(
            smooth([(x - 0.1, 0.2), (x, 0.03), (x + 0.1, 0.2), (0.55, 0.44), (0.45, 0.44)]), shade(petal, tone)
        )
    return canvas


NATURE: dict[str, dict[str, Callable[[Rng], Canvas]]] = {
    "butterfly": {"monarch": _monarch, "swallowtail": _swallowtail, "moth": _moth},
    "fish": {"clownfish": _clownfish, "angelfish": _angelfish, "shark": _shark},
    "flower": {"daisy": _daisy, "pansy": _pansy, "tulip": _tulip},
}
"""How each subcategory is drawn, by category."""
