"""The confusion matrix as a heat map: cells in an image of a pixel each, names and numbers as text around and on it.

An image keeps a matrix of 1,000 classes at a few kilobytes. It has two colours and transparency, so that it follows
light, dark and print like the rest of the page.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image, ImageColor

from jobs.report.plots.pictures import RIGHT, WRONG
from sppnet.arrays import Float64s

NUMBERS_UP_TO = 20
"""Classes up to which each cell shows its percentage."""
NAMES_UP_TO = 130
"""Classes up to which each row and column has its name."""

_SIDE = 1000  # of a matrix of many classes
_WITHOUT_NAMES = 640
_CELL = 38  # of a matrix of few
_GAP = 6
_LETTER = 0.68  # width of a letter, in font sizes
_LONGEST = 26  # letters of a name that are shown
_CONTRAST = 0.42  # exponent: a confusion of 2 % must be seen beside one of 40 %


def heat_map(labels: Sequence[str], entries: Sequence[tuple[int, int, int]], label: str) -> Markup:
    """Draw a confusion matrix, each row as fractions of its sum: green what is right, orange what is not.

    Args:
        labels: `n` classes.
        entries: Class, class that it was taken for, images; entries without images may be missing.
        label: What the picture shows, for screen readers.
    """
    n = len(labels)
    shares = row_shares(entries, n)
    named = n <= NAMES_UP_TO
    side = max(8, min(_CELL, _SIDE // max(n, 1))) * n if named else _WITHOUT_NAMES
    cell = side / max(n, 1)
    font = min(13.0, max(7.5, 0.8 * cell))
    margin = round(_LETTER * font * min(_LONGEST, max(map(len, labels), default=0))) + _GAP + 4 if named else 0
    parts = [_image(shares, margin, side)]
    if named:
        parts += _names(labels, margin, cell, font)
    if n <= NUMBERS_UP_TO:
        parts += _numbers(shares, margin, cell)
    whole = margin + side
    head = Markup('<svg class="heat" width="{0}" height="{0}" viewBox="0 0 {0} {0}" role="img" aria-label="{1}">')
    return head.format(whole, label) + Markup("\n").join(parts) + Markup("</svg>")


def row_shares(entries: Sequence[tuple[int, int, int]], n: int) -> Float64s:
    """Turn a confusion matrix into fractions of its rows' sums, `[n, n]`; a row without images stays zero."""
    counts = np.zeros((n, n))
    for truth, taken, images in entries:
        counts[truth, taken] += images
    shares: Float64s = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def _image(shares: Float64s, margin: int, side: float) -> Markup:
    n = len(shares)
    pixels = np.zeros((n, n, 4), np.uint8)
    pixels[..., :3] = ImageColor.getrgb(WRONG)
    pixels[np.arange(n), np.arange(n), :3] = ImageColor.getrgb(RIGHT)
    pixels[..., 3] = np.round(255 * shares**_CONTRAST)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG", optimize=True)
    uri = "data:image/png;base64," + base64.b64encode(sink.getvalue()).decode("ascii")
    return Markup(
        '<rect x="{0}" y="{0}" width="{1}" height="{1}" class="frame"/>'
        '<image x="{0}" y="{0}" width="{1}" height="{1}" href="{2}"/>'
    ).format(margin, side, uri)


def _names(labels: Sequence[str], margin: int, cell: float, font: float) -> list[Markup]:
    """Write names left of the rows, and, upwards, above the columns."""
    texts = []
    for i, name in enumerate(labels):
        middle = f"{margin + (i + 0.5) * cell:.1f}"
        end = margin - _GAP
        shown = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "\u2026"
        row = '<text x="{0}" y="{1}" font-size="{2:.1f}" text-anchor="end" dy=".35em">{3}</text>'
        column = '<text transform="translate({1} {0}) rotate(-90)" font-size="{2:.1f}" dy=".35em">{3}</text>'
        texts += [Markup(row).format(end, middle, font, shown), Markup(column).format(end, middle, font, shown)]  # noqa: S704 - our own markup
    return texts


def _numbers(shares: Float64s, margin: int, cell: float) -> list[Markup]:
    text = Markup('<text x="{:.1f}" y="{:.1f}" font-size="12" text-anchor="middle" dy=".35em" class="number">{}</text>')
    return [
        text.format(margin + (column + 0.5) * cell, margin + (row + 0.5) * cell, f"{100 * shares[row, column]:.0f}")
        for row, column in np.argwhere(shares >= 0.005)
    ]
