"""Detections drawn on photographs, as JPEG data URIs: right ones, wrong ones and missed objects told apart.

Colours are Okabe and Ito's, told apart by colour-blind readers too; missed objects are dashed besides.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw

from jobs.report.plots.marks import Rectangle, dashed, fit, jpeg_uri, label, resized, solid
from jobs.report.read.matching import ImageMatch, Judged
from pipelines.artifacts.annotations import Box
from sppnet.arrays import Pixels

RIGHT, WRONG, IGNORED, MISSED = "#00a27a", "#e0561b", "#9a9a9a", "#ffe14d"
"""Colours of true positives, false positives, detections on difficult objects, and missed objects."""

FIELD = "#ffe14d"
"""Colour of receptive fields."""

HEIGHT = 360
"""Height of a picture in pixels, so that a row of pictures lines up."""

_MAX_WIDTH = 640
_FIELD_HEIGHT, _FIELD_WIDTH = 150, 230
_DARKER = 0.3
_CROP = 220  # longer side of a failure's crop
_CONTEXT = 0.25  # of the box, around it: enough to see what it is


@dataclass(frozen=True, slots=True)
class Picture:
    """One photograph with its detections drawn on it.

    Attributes:
        key: What people call the image.
        uri: The drawn JPEG as a data URI.
        width: Its width in pixels.
        height: Its height in pixels.
        right: How many detections are right.
        wrong: How many are wrong.
        missed: How many objects were missed.
    """

    key: str
    uri: str
    width: int
    height: int
    right: int
    wrong: int
    missed: int


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
        kind: `localisation`, `duplicate`, `confusion` or `background`.
        truth: Category of the object that the window overlaps most; None for background.
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


def draw_picture(key: str, image: Pixels, match: ImageMatch) -> Picture:
    """Draw one image's detections and missed objects.

    Args:
        key: What people call the image.
        image: uint8 `[H, W, 3]` RGB.
        match: Its detections, judged, in pixels of `image`.
    """
    height, width = image.shape[:2]
    factor = min(HEIGHT / height, _MAX_WIDTH / width)
    canvas = resized(image, factor)
    draw = ImageDraw.Draw(canvas)
    for missed in match.missed:
        dashed(draw, fit(missed.box, factor, canvas.size), MISSED)
    for entry in match.judged:
        solid(draw, fit(entry.detection.box, factor, canvas.size), _colour(entry))
    taken: list[Rectangle] = []
    for entry in reversed(match.judged):  # the best-scored label has the first choice of place
        text = f"{entry.detection.category} {entry.detection.score:.2f}"
        label(draw, text, fit(entry.detection.box, factor, canvas.size), _colour(entry), taken)
    for missed in match.missed:
        label(draw, missed.category, fit(missed.box, factor, canvas.size), MISSED, taken)
    return Picture(key, jpeg_uri(canvas), canvas.width, canvas.height, match.right, match.wrong, len(match.missed))


def draw_failure(key: str, image: Pixels, entry: Judged) -> Failure:
    """Cut one false positive out with some context; the object that it overlaps, if any, is dashed.

    Args:
        key: What people call the image.
        image: uint8 `[H, W, 3]` RGB.
        entry: The false positive, in pixels of `image`.

    Raises:
        ValueError: The detection is no false positive.
    """
    if entry.error is None:
        raise ValueError(f"{key}: {entry.detection} is not a false positive")
    x0, y0, x1, y1 = _with_context(entry.detection.box, image.shape[1], image.shape[0])
    factor = _CROP / max(x1 - x0, y1 - y0)
    canvas = resized(image[y0:y1, x0:x1], factor)
    draw = ImageDraw.Draw(canvas)
    if entry.nearest is not None:
        box = fit(_shifted(entry.nearest.box, x0, y0), factor, canvas.size)
        dashed(draw, box, MISSED)
    box = fit(_shifted(entry.detection.box, x0, y0), factor, canvas.size)
    solid(draw, box, WRONG)
    found = entry.detection
    truth = entry.nearest.category if entry.nearest else None
    uri = jpeg_uri(canvas)
    return Failure(
        key, uri, canvas.width, canvas.height, found.category, found.score, entry.error, truth, entry.overlap
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


def _colour(entry: Judged) -> str:
    if entry.right:
        return RIGHT
    return IGNORED if entry.error is None else WRONG


def _shifted(box: Box, x: int, y: int) -> Box:
    return box[0] - x, box[1] - y, box[2] - x, box[3] - y


def _with_context(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    across, down = _CONTEXT * (box[2] - box[0]), _CONTEXT * (box[3] - box[1])
    x0, y0 = max(0, int(box[0] - across)), max(0, int(box[1] - down))
    x0, y0 = min(x0, width - 1), min(y0, height - 1)
    return x0, y0, max(x0 + 1, min(width, round(box[2] + across))), max(y0 + 1, min(height, round(box[3] + down)))
