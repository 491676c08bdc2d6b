"""Edges of an image for EdgeBoxes: how strong each pixel's edge is, and which way it crosses the edge.

The published method takes structured edges (Dollár and Zitnick, ICCV 2013) from a trained forest; a network's are in
`sppnet.proposals.learned_edges`. Where neither is at hand, plain gradients stand in for them: they find the same
outlines, and every texture too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from sppnet.arrays import Float32s, Floats, Pixels
from sppnet.errors import ConfigError
from sppnet.proposals.windows import check_image

EdgeKind: TypeAlias = Literal["learned", "structured", "gradient"]

NORM_SIDE = 61
"""Side of the square, in pixels, over whose mean gradient a gradient is judged."""
NORM_FACTOR = 3.0
"""How many times the mean gradient around it an edge of strength 1 is."""
NORM_FLOOR = 0.03
"""Added to that: the gradient, in 1 / pixel of intensities in 0..1, that counts as an edge where there is no other."""
TIE = 1e-4
"""Relative difference below which two strengths are equal."""

_OPTIONS = ("stride", "shrinkNumber", "patchSize", "patchInnerSize", "numberOfTrees", "numberOfTreesToEvaluate")
_PARTS = ("childs", "featureIds", "thresholds", "edgeBoundaries", "edgeBins")


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Thin edges of an image.

    Attributes:
        strength: float32 `[H, W]` in 0..1, 0 off the edges.
        orientation: float32 `[H, W]` in [0, pi): the angle, from x towards y, of the line *across* the edge.
    """

    strength: Float32s
    orientation: Float32s


EdgeDetector: TypeAlias = Callable[[Pixels], Edges]
"""From a uint8 `[H, W, 3]` RGB image to its edges."""


def gradient_edges(image: Pixels, *, sigma: float = 2.0) -> Edges:
    """Find edges by the colour gradient of the smoothed image, judged against the gradients around them.

    The gradient of the three channels is Di Zenzo's: the direction in which the colour changes most.

    Args:
        image: uint8 `[H, W, 3]`, RGB.
        sigma: the Gaussian smoothing, pixels.

    Raises:
        ConfigError: a wrong image shape or type, or a smoothing that is none.
    """
    import cv2

    check_image(image, "gradient edges")
    if not sigma > 0:
        raise ConfigError(f"gradient edges: sigma must be positive, got {sigma}")
    radius = math.ceil(3 * sigma)
    size = (2 * radius + 1, 2 * radius + 1)
    smooth = cv2.GaussianBlur(image.astype(np.float32) / 255, size, sigma, borderType=cv2.BORDER_REPLICATE)
    dx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8, borderType=cv2.BORDER_REPLICATE)
    dy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8, borderType=cv2.BORDER_REPLICATE)
    xx, yy, xy = (dx * dx).sum(2), (dy * dy).sum(2), (dx * dy).sum(2)
    magnitude = np.sqrt((xx + yy + np.hypot(xx - yy, 2 * xy)) / 2)
    orientation = half_turn(np.arctan2(2 * xy, xx - yy) / 2)
    around = cv2.blur(magnitude, (NORM_SIDE, NORM_SIDE), borderType=cv2.BORDER_REFLECT)
    strength = magnitude / (NORM_FACTOR * around + np.float32(NORM_FLOOR))
    return Edges(np.minimum(thin(strength, orientation), 1), orientation)


class StructuredEdges:
    """A trained forest of structured edges, in OpenCV's format (`model.yml` or `model.yml.gz`).

    Args:
        model: the file.

    Raises:
        ConfigError: there is no such file, or it holds no forest.
    """

    def __init__(self, model: Path) -> None:
        import cv2

        if not model.is_file():
            raise ConfigError(f"structured edges: there is no model {model}")
        try:
            whole = _is_forest(cv2.FileStorage(str(model), cv2.FILE_STORAGE_READ))
            self._forest: Any = cv2.ximgproc.createStructuredEdgeDetection(str(model)) if whole else None
        except (cv2.error, SystemError) as error:
            raise ConfigError(
                f"structured edges: {model.name} can't be read as a model: {_first_line(error)}"
            ) from error
        if self._forest is None:
            raise ConfigError(f"structured edges: {model.name} holds no forest with {', '.join(_PARTS)}")

    def __call__(self, image: Pixels) -> Edges:
        """Find the edges of a uint8 `[H, W, 3]` RGB image; raise `ConfigError` for another shape or type."""
        check_image(image, "structured edges")
        strength = self._forest.detectEdges(image.astype(np.float32) / 255)
        orientation = self._forest.computeOrientation(strength)
        strength = self._forest.edgesNms(strength, orientation)
        return Edges(np.clip(strength, 0, 1), half_turn(orientation))


def thin(strength: Float32s, orientation: Float32s, reach: int = 1) -> Float32s:
    """Keep the pixels that are the strongest along the line across their edge (non-maximum suppression).

    Of two equal neighbours one is kept, and none of a slope: a slope of one orientation would be one endless edge.

    Args:
        strength: float32 `[H, W]`.
        orientation: float32 `[H, W]`, as in `Edges`.
        reach: how many pixels of that line on either side a pixel is compared with.

    Returns:
        float32 `[H, W]`: the strength where it is kept, 0 elsewhere.
    """
    import cv2

    height, width = strength.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    dx, dy = np.cos(orientation), np.sin(orientation)

    def beside(step: int) -> Float32s:
        found = cv2.remap(strength, x + step * dx, y + step * dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(found, np.float32)

    kept = np.ones(strength.shape, np.bool_)
    for step in range(1, reach + 1):
        kept &= strength > beside(-step) * np.float32(1 + TIE)
        kept &= strength >= beside(step) * np.float32(1 - TIE)
    return np.where(kept, strength, np.float32(0))


def _is_forest(file: Any) -> bool:
    """Tell whether a model has its parts: OpenCV divides by the number of trees, and ends the process if it is 0."""
    options = file.getNode("options")
    if not file.isOpened() or not options.isMap():
        return False
    numbers = [options.getNode(name) for name in _OPTIONS]
    if not all(node.isInt() and node.real() >= 1 for node in numbers):
        return False
    return all(file.getNode(name).isSeq() and file.getNode(name).size() > 0 for name in _PARTS)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def half_turn(angle: Floats) -> Float32s:
    """Return angles of lines, radians, in [0, pi), float32: rounding must not make pi of a number just below 0."""
    turned = np.mod(angle, np.float32(np.pi)).astype(np.float32)
    return np.where(turned < np.float32(np.pi), turned, np.float32(0))
