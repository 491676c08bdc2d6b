"""Backgrounds for the drawn data set: sky and hills, bricks, planks, foliage, pebbles, water, cloth."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from sppnet.arrays import Array, Float32s, Pixels

Colour: TypeAlias = tuple[float, float, float]
Rng: TypeAlias = np.random.Generator


def colour(rng: Rng, hue: float | None = None, saturation: float | None = None, value: float | None = None) -> Colour:
    """Make a colour of RGB values in 0..255; what isn't given is random."""
    h = rng.uniform() if hue is None else hue % 1
    s = rng.uniform(0.25, 0.9) if saturation is None else saturation
    v = rng.uniform(0.35, 0.95) if value is None else value
    r, g, b = colorsys.hsv_to_rgb(h, min(max(s, 0.0), 1.0), min(max(v, 0.0), 1.0))
    return (255 * r, 255 * g, 255 * b)


def near(rng: Rng, base: Colour, spread: float = 18.0) -> Colour:
    """Make a colour close to `base`: each channel moved by a normal step of `spread` grey levels."""
    r, g, b = np.clip(np.array(base) + rng.normal(0, spread, 3), 0, 255).tolist()
    return (r, g, b)


def noise(
    rng: Rng, height: int, width: int, coarsest: float, persistence: float = 0.6, finest: float = 2.0
) -> Float32s:
    """Make multi-octave value noise `[H, W]`, mean 0, deviation 1; its waves measure `finest..coarsest` pixels."""
    import cv2

    total = np.zeros((height, width), np.float32)
    wave, amplitude = coarsest, 1.0
    while wave >= finest:
        grid = rng.normal(0, 1, (int(height / wave) + 3, int(width / wave) + 3)).astype(np.float32)
        size = (int(grid.shape[1] * wave) + 1, int(grid.shape[0] * wave) + 1)
        big = cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC)
        y, x = int(rng.integers(0, max(1, int(wave)))), int(rng.integers(0, max(1, int(wave))))
        total += np.float32(amplitude) * big[y : y + height, x : x + width]
        wave, amplitude = wave / 2, amplitude * persistence
    result: Float32s = (total - total.mean()) / (total.std() + np.float32(1e-6))
    return result


def flat(base: Colour, height: int, width: int) -> Float32s:
    """Fill an image with one colour: float32 `[H, W, 3]`."""
    return np.broadcast_to(np.array(base, np.float32), (height, width, 3)).copy()


def _tint(image: Float32s, amount: Array, strength: Colour) -> Float32s:
    result: Float32s = image + amount[:, :, None] * np.array(strength, np.float32)
    return result


def _landscape(rng: Rng, height: int, width: int) -> Float32s:
    top, low = colour(rng, rng.uniform(0.5, 0.65), 0.5, 0.9), colour(rng, rng.uniform(0.05, 0.6), 0.15, 0.95)
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    image = flat(top, height, width) * (1 - ramp) + flat(low, height, width) * ramp
    image = _tint(image, np.maximum(noise(rng, height, width, 120), 0), (22, 20, 18))
    rows = np.arange(height, dtype=np.float32)[:, None]
    level = rng.uniform(0.25, 0.5)
    for i in range(int(rng.integers(2, 4))):
        ridge = height * (level + 0.15 * i) + noise(rng, 1, width, 90)[0] * height * 0.04
        ground = flat(colour(rng, rng.uniform(0.08, 0.4), rng.uniform(0.2, 0.6), 0.75 - 0.15 * i), height, width)
        ground = _tint(ground, noise(rng, height, width, 24, 0.8), (16, 16, 10))
        image = np.where((rows > ridge[None])[:, :, None], ground, image)
    return image


def _bricks(rng: Rng, height: int, width: int) -> Float32s:
    mortar, base = colour(rng, 0.1, 0.1, rng.uniform(0.5, 0.8)), colour(rng, rng.uniform(0, 0.12), 0.5)
    image = flat(mortar, height, width)
    tall = int(rng.integers(10, 26))
    wide = int(tall * rng.uniform(1.8, 2.8))
    gap = max(1, tall // 8)
    for row, y in enumerate(range(-tall, height, tall)):
        for x in range(-wide + (row % 2) * wide // 2, width, wide):
            block = image[max(0, y) : max(0, y + tall - gap), max(0, x) : max(0, x + wide - gap)]
            block[:] = near(rng, base, 13)
    return _tint(image, noise(rng, height, width, 12, 0.9), (9, 9, 9))


def _planks(rng: Rng, height: int, width: int) -> Float32s:
    import cv2

    base = colour(rng, rng.uniform(0.04, 0.13), rng.uniform(0.3, 0.6))
    upright = rng.uniform() < 0.5
    rows, columns = (width, height) if upright else (height, width)
    image = np.zeros((rows, columns, 3), np.float32)
    step = int(rng.integers(18, 60))
    for y in range(0, rows, step):
        grain = noise(rng, step, max(4, columns // 8), 8, 0.9)
        plank = flat(near(rng, base, 14), step, columns)
        plank = _tint(plank, cv2.resize(grain, (columns, step), interpolation=cv2.INTER_CUBIC), (13, 11, 8))
        plank[:2] *= np.float32(0.5)
        image[y : y + step] = plank[: rows - y]
    return np.ascontiguousarray(image.transpose(1, 0, 2)) if upright else image


def _foliage(rng: Rng, height: int, width: int) -> Float32s:
    import cv2

    hue = rng.uniform(0.17, 0.42)
    image = _tint(flat(colour(rng, hue, 0.6, 0.25), height, width), noise(rng, height, width, 40), (10, 14, 6))
    canvas = np.clip(image, 0, 255).astype(np.uint8)
    length = rng.uniform(6, 20)
    for i in range(int(height * width / (length * length) * 1.6)):
        value = 0.25 + 0.5 * min(1.0, i * length * length / (height * width * 1.6)) + rng.normal(0, 0.06)
        leaf = colour(rng, hue + rng.normal(0, 0.03), 0.6, value)
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        axes = (max(2, int(length * rng.uniform(0.6, 1.3))), max(1, int(length * rng.uniform(0.2, 0.5))))
        cv2.ellipse(canvas, centre, axes, rng.uniform(0, 180), 0, 360, leaf, -1, cv2.LINE_AA)
    return canvas.astype(np.float32)


def _pebbles(rng: Rng, height: int, width: int) -> Float32s:
    import cv2

    base = colour(rng, None, rng.uniform(0.05, 0.3), rng.uniform(0.4, 0.7))
    canvas = np.clip(flat(base, height, width) * np.float32(0.4), 0, 255).astype(np.uint8)
    radius = rng.uniform(5, 16)
    for _ in range(int(height * width / (radius * radius) * 1.2)):
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        axes = (int(radius * rng.uniform(0.5, 1.2)) + 1, int(radius * rng.uniform(0.4, 0.9)) + 1)
        angle, stone = rng.uniform(0, 180), near(rng, base, 22)
        cv2.ellipse(canvas, centre, axes, angle, 0, 360, tuple(0.55 * c for c in stone), -1, cv2.LINE_AA)
        lit = (centre[0] - 1, centre[1] - 1)
        cv2.ellipse(canvas, lit, (axes[0] - 1, axes[1] - 1), angle, 0, 360, stone, -1, cv2.LINE_AA)
    return _tint(canvas.astype(np.float32), noise(rng, height, width, 6, 0.9), (7, 7, 7))


def _water(rng: Rng, height: int, width: int) -> Float32s:
    base = colour(rng, rng.uniform(0.45, 0.62), rng.uniform(0.4, 0.8), rng.uniform(0.35, 0.7))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    sway = noise(rng, height, width, 60) * np.float32(rng.uniform(1, 2.5))
    waves = np.sin(y * np.float32(rng.uniform(0.15, 0.5)) + x * np.float32(rng.uniform(-0.06, 0.06)) + sway)
    image = _tint(flat(base, height, width), waves.astype(np.float32), (12, 16, 18))
    return _tint(image, noise(rng, height, width, 80), (10, 12, 14))


def _cloth(rng: Rng, height: int, width: int) -> Float32s:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    bend = noise(rng, height, width, 140) * np.float32(4)
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(8, 34)
    u = (x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle)) + bend) / np.float32(pitch)
    v = (y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle)) + bend) / np.float32(pitch)
    first, second = flat(colour(rng), height, width), flat(colour(rng), height, width)
    share = (u % 1 > 0.5).astype(np.float32)
    if rng.uniform() < 0.5:
        share = (share + (v % 1 > 0.5)) / 2
    image = first * (1 - share[:, :, None]) + second * share[:, :, None]
    return _tint(image, noise(rng, height, width, 90), (12, 12, 12))


_KINDS: tuple[Callable[[Rng, int, int], Float32s], ...] = (
    _landscape,
    _landscape,
    _bricks,
    _planks,
    _foliage,
    _pebbles,
    _water,
    _cloth,
)


def background(rng: Rng, height: int, width: int) -> Pixels:
    """Draw a background of a random kind: uint8 `[H, W, 3]`, RGB."""
    kind: Any = _KINDS[int(rng.integers(0, len(_KINDS)))]
    image: Float32s = kind(rng, height, width)
    contrast = np.float32(rng.uniform(0.55, 1.0))
    image = (image - image.mean()) * contrast + image.mean()
    return np.clip(image, 0, 255).astype(np.uint8)
