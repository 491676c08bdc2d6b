"""Objects of the drawn data set: six categories of three subcategories each, and things that belong to none.

Subcategories differ in shape and inner pattern, never in colour: a detector has to look at the form.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipelines.drawing.shapes_made import MADE
from pipelines.drawing.shapes_nature import NATURE
from pipelines.drawing.sprites import Canvas, shade
from pipelines.drawing.textures import Rng, colour, near

SUBCATEGORIES: dict[str, dict[str, Callable[[Rng], Canvas]]] = dict(sorted((MADE | NATURE).items()))
"""How each subcategory of each category is drawn."""


def _rock(rng: Rng) -> Canvas:
    canvas = Canvas()
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radii = rng.uniform(0.25, 0.46, 9)
    points = [(0.5 + float(r * np.cos(a)), 0.5 + float(r * np.sin(a))) for r, a in zip(radii, angles, strict=True)]
    tone = colour(rng, None, rng.uniform(0, 0.5))
    canvas.polygon(points, tone)
    facet = Canvas()
    facet.polygon([points[0], points[3], points[6]], shade(tone, 0.7))
    canvas.inside(points, facet)
    return canvas


def _bush(rng: Rng) -> Canvas:
    canvas = Canvas()
    green = colour(rng, rng.uniform(0.2, 0.42), 0.6, rng.uniform(0.3, 0.7))
    canvas.box(0.47, 0.5, 0.53, 0.97, (90, 65, 45))
    for _ in range(60):
        x, y = np.clip(rng.normal((0.5, 0.36), (0.15, 0.12)), 0.1, 0.9)
        canvas.ellipse((float(x), float(y)), (0.09, 0.07), near(rng, green, 16), rng.uniform(0, 180))
    return canvas


def _sign(rng: Rng) -> Canvas:
    canvas = Canvas()
    canvas.box(0.48, 0.4, 0.52, 0.98, (120, 120, 125))
    sides, tone = int(rng.integers(3, 9)), colour(rng)
    turn = rng.uniform(0, np.pi) + np.arange(sides) * 2 * np.pi / sides
    for radius, fill in ((0.3, tone), (0.25, (240.0, 240.0, 235.0)), (0.12, tone)):
        canvas.polygon([(0.5 + radius * float(np.cos(a)), 0.33 + radius * float(np.sin(a))) for a in turn], fill)
    return canvas


def _disc(rng: Rng) -> Canvas:
    canvas = Canvas()
    for radius in np.linspace(0.45, 0.08, int(rng.integers(1, 5))):
        canvas.ellipse((0.5, 0.5), (float(radius), float(radius) * 0.9), colour(rng))
    return canvas


def _plank(rng: Rng) -> Canvas:
    canvas = Canvas()
    tone, h = colour(rng, None, 0.4), rng.uniform(0.04, 0.12)
    canvas.box(0.03, 0.5 - h, 0.97, 0.5 + h, tone)
    for x in np.sort(rng.uniform(0.05, 0.95, int(rng.integers(0, 6)))):
        canvas.box(float(x), 0.5 - h, float(x) + 0.03, 0.5 + h, near(rng, tone, 40))
    return canvas


DISTRACTORS: tuple[Callable[[Rng], Canvas], ...] = (_rock, _bush, _sign, _disc, _plank)
"""Things that belong to no category."""
