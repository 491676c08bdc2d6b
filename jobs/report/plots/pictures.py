"""Photographs, failures and receptive fields, as JPEG data URIs; and the colours of what is right, wrong and missed.

Colours are Okabe and Ito's, told apart by colour-blind readers too; missed objects are dashed besides.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw

from jobs.report.plots.marks import dashed, fit, jpeg_uri, resized, solid
from jobs.report.read.failures import FalsePositive
from pipelines.artifacts.annotations import Box
from sppnet.arrays import Pixels

RIGHT, WRONG, IGNORED, MISSED = "#00a27a", "#e0561b", "#9a9a9a", "#ffe14d"
"""Colours of true positives, false positives, detections on difficult objects, and missed objects."""

FIELD = "#ffe14d"
"""Colour of receptive fields."""

_WIDEST = 16 / 9  # width of a photograph over the height of its row
_FIELD_HEIGHT, _FIELD_WIDTH = 150, 230
_DARKER = 0.3
_CROP = 220  # longer side of a failure's crop
_CONTEXT = 0.25  # of the box, around it: enough to see what it is


@dataclass(frozen=True, slots=True)
class Failure:
    """One false positive, cut out of its photograph.

    Attributes:
        key: What people call the image.
        uri: The crop as a data URI.
        width: Its width in pixels.
        height: Its height in pixels.
        category: What the window was taken for.
        score: The detector's score.
        kind: One of `ERRORS`.
        truth: Category of the object that the window is about; None if it overlaps none by 0.1.
        overlap: IoU with that object, 0..1.
    """

    key: str
    uri: str
    width: int
    height: int
    category: str
    score: float
    kind: str
    truth: str | None
    overlap: float


@dataclass(frozen=True, slots=True)
class FieldPicture:
    """An image to which a filter responds strongly, with the receptive field of the response drawn on it.

    Attributes:
        key: What people call the image.
        uri: The drawn JPEG as a data URI.
        width: Its width in pixels.
        height: Its height in pixels.
        value: The response.
    """

    key: str
    uri: str
    width: int
    height: int
    value: float


def plain_picture(image: Pixels, height: int) -> tuple[str, tuple[int, int], float]:
    """Make a picture of an image, at most so high, without anything on it.

    Args:
        image: uint8 `[H, W, 3]` RGB.
        height: Pixels.

    Returns:
        Its data URI, its width and height in pixels, and how much larger it is than the image.
    """
    factor = min(height / image.shape[0], _WIDEST * height / image.shape[1])
    canvas = resized(image, factor)
    return jpeg_uri(canvas, fine=False), canvas.size, factor


def draw_failure(key: str, image: Pixels, found: FalsePositive) -> Failure:
    """Cut one false positive out with some context; the object that it is about, if any, is dashed.

    Args:
        key: What people call the image.
        image: uint8 `[H, W, 3]` RGB.
        found: The false positive, in pixels of `image`.
    """
    x0, y0, x1, y1 = _with_context(found.box, image.shape[1], image.shape[0])
    factor = _CROP / max(x1 - x0, y1 - y0)
    canvas = resized(image[y0:y1, x0:x1], factor)
    draw = ImageDraw.Draw(canvas)
    if found.truth_box is not None:
        dashed(draw, fit(_shifted(found.truth_box, x0, y0), factor, canvas.size), MISSED)
    solid(draw, fit(_shifted(found.box, x0, y0), factor, canvas.size), WRONG)
    uri = jpeg_uri(canvas)
    return Failure(
        key, uri, canvas.width, canvas.height, found.category, found.score, found.kind, found.truth, found.overlap
    )


def draw_field(key: str, image: Pixels, box: Box, value: float) -> FieldPicture:
    """Draw an image with a receptive field outlined and the rest of it darkened.

    Args:
        key: What people call the image.
        image: uint8 `[H, W, 3]` RGB.
        box: The receptive field, pixels of `image`; what reaches beyond it is cut off.
        value: The filter's response.
    """
    height, width = image.shape[:2]
    factor = min(_FIELD_HEIGHT / height, _FIELD_WIDTH / width)
    canvas = resized(image, factor)
    field = fit(box, factor, canvas.size)
    left, top, right, bottom = map(round, field)
    lit = canvas.crop((left, top, right + 1, bottom + 1))
    canvas = Image.blend(canvas, Image.new("RGB", canvas.size), _DARKER)
    canvas.paste(lit, (left, top))
    solid(ImageDraw.Draw(canvas), field, FIELD)
    return FieldPicture(key, jpeg_uri(canvas), canvas.width, canvas.height, value)


def _shifted(box: Box, x: int, y: int) -> Box:
    return box[0] - x, box[1] - y, box[2] - x, box[3] - y


def _with_context(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    across, down = _CONTEXT * (box[2] - box[0]), _CONTEXT * (box[3] - box[1])
    x0, y0 = max(0, int(box[0] - across)), max(0, int(box[1] - down))
    x0, y0 = min(x0, width - 1), min(y0, height - 1)
    return x0, y0, max(x0 + 1, min(width, round(box[2] + across))), max(y0 + 1, min(height, round(box[3] + down)))
