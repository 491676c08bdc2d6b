"""Marks on photographs: boxes and their labels, in colours that colour-blind readers tell apart too."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipelines.artifacts.annotations import Box
from sppnet.arrays import Pixels

_QUALITY, _COARSE = 78, 68
_FONT = 17
_PAD = 3
_DASH, _GAP = 7, 5
_BACKING = "#101010"
_LIGHT = 140
"""Luminance from which ink on a colour is black."""

Rectangle = tuple[float, float, float, float]


def encode_jpeg(picture: Image.Image, *, fine: bool = True) -> bytes:
    """Encode a picture; `fine` keeps colours at full resolution, so that thin coloured lines stay sharp."""
    look: dict[str, Any] = {"quality": _QUALITY, "subsampling": 0} if fine else {"quality": _COARSE, "subsampling": 2}
    sink = io.BytesIO()
    try:
        picture.save(sink, "JPEG", optimize=True, **look)
    except OSError:  # optimised tables need the whole picture in PIL's buffer, which pure noise is too large for
        sink = io.BytesIO()
        picture.save(sink, "JPEG", **look)
    return sink.getvalue()


def jpeg_uri(picture: Image.Image, *, fine: bool = True) -> str:
    """Encode a picture as a JPEG data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(picture, fine=fine)).decode("ascii")


def resized(image: Pixels, factor: float) -> Image.Image:
    """Return an image, uint8 `[H, W, 3]`, that is so many times as large."""
    height, width = image.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return Image.fromarray(np.ascontiguousarray(image)).resize(size, Image.Resampling.LANCZOS)


def fit(box: Box, factor: float, size: tuple[int, int]) -> Rectangle:
    """Return a box in the canvas's pixels, inside it, its right and bottom ends inclusive as PIL wants them."""
    x0, y0, x1, y1 = (value * factor for value in box)
    x0, y0 = min(max(x0, 0), size[0] - 1), min(max(y0, 0), size[1] - 1)
    return x0, y0, max(x0, min(x1, size[0]) - 1), max(y0, min(y1, size[1]) - 1)


def solid(draw: ImageDraw.ImageDraw, box: Rectangle, colour: str) -> None:
    """Draw a box."""
    draw.rectangle(_grown(box, 1), outline=_BACKING, width=1)  # keeps the line visible on any background
    draw.rectangle(box, outline=colour, width=3)


def _grown(box: Rectangle, by: float) -> Rectangle:
    return box[0] - by, box[1] - by, box[2] + by, box[3] + by


def dashed(draw: ImageDraw.ImageDraw, box: Rectangle, colour: str) -> None:
    """Draw a dashed box."""
    x0, y0, x1, y1 = box
    draw.rectangle(box, outline=_BACKING, width=3)
    for start in np.arange(x0, x1, _DASH + _GAP):
        end = min(float(start) + _DASH, x1)
        draw.line([(start, y0 + 1), (end, y0 + 1)], fill=colour, width=3)
        draw.line([(start, y1 - 1), (end, y1 - 1)], fill=colour, width=3)
    for start in np.arange(y0, y1, _DASH + _GAP):
        end = min(float(start) + _DASH, y1)
        draw.line([(x0 + 1, start), (x0 + 1, end)], fill=colour, width=3)
        draw.line([(x1 - 1, start), (x1 - 1, end)], fill=colour, width=3)


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Load Matplotlib's own copy of DejaVu Sans: there on every machine, with every script of category names in it."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans-Bold.ttf"), size)


def label(draw: ImageDraw.ImageDraw, text: str, box: Rectangle, colour: str, taken: list[Rectangle]) -> None:
    """Write a label at the box, where it covers least of the labels that are there already."""
    font = _font(_FONT)
    left, top, right, bottom = font.getbbox(text)
    width, height = right - left + 2 * _PAD, bottom - top + 2 * _PAD
    size = draw.im.size
    places = [_clamped(x, y, width, height, size) for x, y in _corners(box, width, height)]
    place = min(places, key=lambda spot: sum(_shared(spot, other) for other in taken))
    taken.append(place)
    draw.rectangle(place, fill=colour)
    draw.text((place[0] + _PAD - left, place[1] + _PAD - top), text, fill=ink(colour), font=font)


def ink(colour: str) -> str:
    """Return the colour of letters on a colour: white or black."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > _LIGHT else "#ffffff"


def _corners(box: Rectangle, width: float, height: float) -> Sequence[tuple[float, float]]:
    """List places for a label, best first: above the box's top edge, below it, likewise at its bottom, further off."""
    x0, y0, x1, y1 = box
    lefts = (x0, x1 - width)
    tops = (y0 - height, y0, y1, y1 - height, y0 - 2 * height, y1 + height)
    return [(left, top) for left in lefts for top in tops]


def _clamped(x: float, y: float, width: float, height: float, size: tuple[int, int]) -> Rectangle:
    left = max(0.0, min(x, size[0] - 1 - width))
    top = max(0.0, min(y, size[1] - 1 - height))
    return left, top, left + width, top + height


def _shared(a: Rectangle, b: Rectangle) -> float:
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, across) * max(0.0, down)
