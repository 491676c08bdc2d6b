from __future__ import annotations

import numpy as np
import pytest

from pipelines.drawing.sprites import SIDE, Canvas, draw_sprite, mirrored, shade, smooth


def test_box_fills_its_pixels() -> None:
    canvas = Canvas()
    canvas.box(0.25, 0.5, 0.75, 1.0, (10, 20, 30))
    inside = canvas.pixels[SIDE // 2 + 2 : -2, SIDE // 4 + 2 : 3 * SIDE // 4 - 2]
    assert (inside == [10, 20, 30, 255]).all()
    assert (canvas.pixels[:, :, 3] > 127).mean() == pytest.approx(0.25, abs=0.01)


def test_ellipse_has_the_area_of_one() -> None:
    canvas = Canvas()
    canvas.ellipse((0.5, 0.5), (0.3, 0.1), (255, 0, 0), angle=30)
    assert (canvas.pixels[:, :, 3] / 255).mean() == pytest.approx(np.pi * 0.03, rel=0.04)


def test_inside_keeps_the_pattern_within_the_outline() -> None:
    canvas, pattern = Canvas(), Canvas()
    canvas.box(0, 0, 1, 1, (100, 100, 100))
    pattern.box(0, 0, 1, 0.5, (200, 0, 0))
    canvas.inside([(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)], pattern)
    quarter = SIDE // 4
    assert canvas.pixels[quarter + 5, 2 * quarter].tolist() == [200, 0, 0, 255]
    assert canvas.pixels[3 * quarter - 5, 2 * quarter].tolist() == [100, 100, 100, 255]
    assert canvas.pixels[quarter - 5, 2 * quarter].tolist() == [100, 100, 100, 255]


def test_colours_never_exceed_alpha() -> None:
    def draw(rng: np.random.Generator) -> Canvas:
        canvas = Canvas()
        canvas.ellipse((0.5, 0.5), (0.4, 0.3), (255, 255, 250), 20)
        return canvas

    sprite = draw_sprite(draw, np.random.default_rng(3))
    assert (sprite[:, :, :3] <= sprite[:, :, 3:]).all()
    assert sprite[sprite[:, :, 3] == 255][:, :3].std() > 3  # light and grain


def test_curves() -> None:
    corners = [(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8)]
    curve = smooth(corners, steps=5)
    assert len(curve) == 20
    assert np.allclose(curve[::5], corners)
    assert mirrored([(0.6, 0.1), (0.7, 0.9)]) == [(0.6, 0.1), (0.7, 0.9), (pytest.approx(0.3), 0.9), (0.4, 0.1)]
    assert shade((100, 200, 10), 1.5) == (150, 255, 15)
