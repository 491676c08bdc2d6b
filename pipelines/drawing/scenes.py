"""Photograph-like scenes with exact boxes, from nothing but a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.artifacts.annotations import Box, ImageAnnotation, ObjectAnnotation
from pipelines.drawing.shapes import DISTRACTORS, SUBCATEGORIES
from pipelines.drawing.sprites import SIDE, Sprite, draw_sprite
from pipelines.drawing.textures import Rng, background, noise
from sppnet.arrays import Bools, Float32s, Pixels

CATEGORIES: tuple[str, ...] = tuple(SUBCATEGORIES)

VERSION = 1
"""Of the drawing: images are known by what they are drawn from, so a change of what a seed gives needs another."""

# How an object of each category may be turned (degrees, either way) and its longest side as a share of the image.
_TURN = {"bottle": 100.0, "butterfly": 180.0, "car": 14.0, "fish": 50.0, "flower": 40.0, "house": 7.0}
_SOLID = 0.4  # alpha above which a pixel belongs to the object
_MIN_VISIBLE, _MIN_PIXELS = 0.15, 60
_DIFFICULT_VISIBLE, _DIFFICULT_SIDE = 0.45, 20
_WHOLE = 0.9


@dataclass(frozen=True, slots=True)
class _Placed:
    """A sprite turned and scaled, to be laid on the scene with its corner at `x`, `y`."""

    pixels: Float32s
    x: int
    y: int
    category: str | None = None
    subcategory: str | None = None


def draw_image(seed: int, size: tuple[int, int]) -> bytes:
    """Draw one scene.

    Args:
        seed: Of every random choice.
        size: Least and largest width, pixels.

    Returns:
        A JPEG file's bytes.
    """
    import cv2

    rng = np.random.default_rng(seed)
    scene, _ = _compose(rng, size)
    picture = _photograph(rng, scene)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(82, 95))]
    _, data = cv2.imencode(".jpg", picture[:, :, ::-1], quality)
    return data.tobytes()


def annotate_image(key: str, seed: int, size: tuple[int, int]) -> ImageAnnotation:
    """Return the boxes of what can be seen of each object in the scene that `draw_image` draws.

    Args:
        key: Of the image.
        seed: See `draw_image`.
        size: See `draw_image`.
    """
    scene, objects = _compose(np.random.default_rng(seed), size)
    return ImageAnnotation(key, scene.shape[1], scene.shape[0], objects)


def _compose(rng: Rng, size: tuple[int, int]) -> tuple[Float32s, tuple[ObjectAnnotation, ...]]:
    """Lay things on a background: float32 `[h, w, 3]`, and what can be seen of the objects."""
    width = int(rng.integers(size[0], size[1] + 1))
    height = round(width * rng.uniform(0.66, 0.82))
    if rng.uniform() < 0.2:
        width, height = height, width
    scene = background(rng, height, width).astype(np.float32)
    things = _arrange(rng, height, width)
    owner = np.full((height, width), -1, np.int16)
    for number, thing in enumerate(things):
        _lay(scene, owner, thing, number, rng.uniform(0.15, 0.5))
    objects = (_annotate(thing, owner == number) for number, thing in enumerate(things))
    return scene, tuple(thing for thing in objects if thing)


def _arrange(rng: Rng, height: int, width: int) -> list[_Placed]:
    """Put distractors behind, objects among each other, and now and then a distractor in front."""
    things: list[_Placed] = []
    for _ in range(int(rng.integers(0, 4))):
        things.append(_place(rng, _distractor(rng), 180, rng.uniform(0.12, 0.5), height, width))
    for _ in range(1 + min(5, int(rng.poisson(1.7)))):
        category = _pick(rng, CATEGORIES)
        subcategory = _pick(rng, tuple(SUBCATEGORIES[category]))
        sprite = draw_sprite(SUBCATEGORIES[category][subcategory], rng)
        share = float(np.exp(rng.uniform(np.log(0.13), np.log(0.75))))
        for _ in range(12):
            thing = _place(rng, sprite, _TURN[category], share, height, width, category, subcategory)
            if all(_overlap(thing, other) < 0.3 for other in things if other.category):
                things.append(thing)
                break
            share *= 0.9
    if rng.uniform() < 0.35:
        things.append(_place(rng, _distractor(rng), 180, rng.uniform(0.1, 0.3), height, width))
    return things


def _distractor(rng: Rng) -> Sprite:
    return draw_sprite(_pick(rng, DISTRACTORS), rng)


def _pick(rng: Rng, choices: tuple[Any, ...]) -> Any:
    return choices[int(rng.integers(0, len(choices)))]


def _place(
    rng: Rng,
    sprite: Sprite,
    turn: float,
    share: float,
    height: int,
    width: int,
    category: str | None = None,
    subcategory: str | None = None,
) -> _Placed:
    """Turn, stretch and mirror a sprite; its longest side becomes `share` of the image's short side."""
    angle = float(np.clip(rng.normal(0, turn / 2), -turn, turn))
    pixels = _turned(sprite, rng, angle, share * min(height, width))
    tall, wide = pixels.shape[:2]
    # Its centre lies in the image, mostly well inside.
    x = round(width * float(rng.beta(1.6, 1.6)) - wide / 2)
    y = round(height * float(rng.beta(1.8, 1.6)) - tall / 2)
    if rng.uniform() < 0.75:
        x, y = int(np.clip(x, 2, max(2, width - wide - 2))), int(np.clip(y, 2, max(2, height - tall - 2)))
    return _Placed(pixels, x, y, category, subcategory)


def _turned(sprite: Sprite, rng: Rng, angle: float, longest: float) -> Float32s:
    """Turn a sprite by `angle` degrees with a little stretch and shear: float32 `[h, w, 4]`, cut to its extent."""
    import cv2

    stretch = float(np.exp(rng.normal(0, 0.12)))
    flip = -1.0 if rng.uniform() < 0.5 else 1.0
    matrix = np.array([[flip * stretch, rng.normal(0, 0.06)], [rng.normal(0, 0.04), 1 / stretch]])
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    matrix = np.array([[c, -s], [s, c]]) @ matrix
    ys, xs = np.nonzero(sprite[:, :, 3] > 127)
    corners = matrix @ np.stack([xs - SIDE / 2, ys - SIDE / 2])
    low, extent = corners.min(1), np.ptp(corners, axis=1)
    scale = longest / float(extent.max())
    # Shrink by area first: warping alone would skip pixels.
    coarse = min(1.0, scale * 1.5)
    small = cv2.resize(sprite, None, fx=coarse, fy=coarse, interpolation=cv2.INTER_AREA)
    shift = -low * scale + 2
    linear = matrix * scale / coarse
    offset = shift - linear @ (np.array([SIDE / 2, SIDE / 2]) * coarse)
    shape = (int(extent[0] * scale) + 5, int(extent[1] * scale) + 5)
    turned = cv2.warpAffine(small, np.column_stack([linear, offset]), shape, flags=cv2.INTER_LINEAR)
    return np.asarray(turned, np.float32)


def _overlap(a: _Placed, b: _Placed) -> float:
    """Return the share of the smaller one's rectangle that the other covers."""
    (h, w), (k, v) = a.pixels.shape[:2], b.pixels.shape[:2]
    wide = min(a.x + w, b.x + v) - max(a.x, b.x)
    tall = min(a.y + h, b.y + k) - max(a.y, b.y)
    return float(max(0, wide) * max(0, tall) / min(h * w, k * v))


def _lay(scene: Float32s, owner: npt.NDArray[np.int16], thing: _Placed, number: int, shadow: float) -> None:
    """Blend a sprite and its soft shadow into the scene, and mark the pixels it covers as its own."""
    import cv2

    height, width = owner.shape
    tall, wide = thing.pixels.shape[:2]
    pad = max(3, tall // 12)
    alpha = np.pad(thing.pixels[:, :, 3] / 255, ((0, 2 * pad), (0, 2 * pad)))
    cast = cv2.GaussianBlur(np.roll(alpha, (pad, pad // 2), (0, 1)), (0, 0), pad / 2)
    top, left = max(0, thing.y), max(0, thing.x)
    low, right = min(height, thing.y + tall + 2 * pad), min(width, thing.x + wide + 2 * pad)
    part = np.s_[top - thing.y : low - thing.y, left - thing.x : right - thing.x]
    scene[top:low, left:right] *= 1 - np.float32(shadow) * cast[part][:, :, None]
    low, right = min(height, thing.y + tall), min(width, thing.x + wide)
    part = np.s_[top - thing.y : low - thing.y, left - thing.x : right - thing.x]
    pixels = thing.pixels[part]
    scene[top:low, left:right] *= 1 - pixels[:, :, 3:] / 255
    scene[top:low, left:right] += pixels[:, :, :3]
    owner[top:low, left:right][pixels[:, :, 3] > 255 * _SOLID] = number


def _annotate(thing: _Placed, seen: Bools) -> ObjectAnnotation | None:
    """Return the object with the box of its visible pixels, or None if hardly any are."""
    if thing.category is None:
        return None
    whole = int((thing.pixels[:, :, 3] > 255 * _SOLID).sum())
    visible = int(seen.sum()) / max(1, whole)
    if visible < _MIN_VISIBLE or seen.sum() < _MIN_PIXELS:
        return None
    xs, ys = np.flatnonzero(seen.any(0)), np.flatnonzero(seen.any(1))
    box: Box = (float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1))
    short = min(box[2] - box[0], box[3] - box[1])
    return ObjectAnnotation(
        thing.category,
        box,
        thing.subcategory,
        difficult=visible < _DIFFICULT_VISIBLE or short < _DIFFICULT_SIDE,
        truncated=visible < _WHOLE,
    )


def _photograph(rng: Rng, scene: Float32s) -> Pixels:
    """Do to the scene what a lens and a sensor do: uneven light, a colour cast, blur, grain."""
    import cv2

    height, width = scene.shape[:2]
    light = 1 + np.float32(rng.uniform(0.02, 0.16)) * noise(rng, height, width, 220, 0.3)
    cast = np.exp(rng.normal(0, 0.06, 3)).astype(np.float32) * np.float32(np.exp(rng.normal(0, 0.14)))
    picture = np.clip(scene * light[:, :, None] * cast, 0, 255)
    picture = 255 * (picture / 255) ** np.float32(np.exp(rng.normal(0, 0.15)))
    blur = rng.uniform(0, 1.1)
    if blur > 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    picture = picture + rng.normal(0, rng.uniform(2, 8), picture.shape).astype(np.float32)
    result: Pixels = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    return result
