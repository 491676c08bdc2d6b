"""EdgeBoxes (Zitnick and Dollár, ECCV 2014): the windows of the paper's fast system (section 4.3, "0.5 s per image").

A window scores by the edges that lie wholly inside it. The search is OpenCV's port of the authors' code. Three of its
habits are seen to here: it remembers edges of the image before (so it is built anew for every image), its boxes are
one pixel down and right (they count from 1), and it reads past a table in images of very long sides.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sppnet.arrays import Pixels, Windows
from sppnet.errors import ConfigError, DataError
from sppnet.proposals.edges import EdgeDetector, gradient_edges
from sppnet.proposals.windows import check_image, join_windows

MAX_PERIMETER = 20_000
"""Width + height, in pixels, from which OpenCV's table of norms ends too early."""
MIN_IMAGE_SIDE = 3
"""An image with a shorter side, in pixels, has no pixel off its border: edges are looked for there only."""


def edge_boxes(
    image: Pixels,
    *,
    detector: EdgeDetector = gradient_edges,
    alpha: float = 0.65,
    beta: float = 0.75,
    eta: float = 1.0,
    min_score: float = 0.01,
    max_windows: int = 2000,
    min_area: float = 1000.0,
    max_aspect: float = 3.0,
    gamma: float = 2.0,
    kappa: float = 1.5,
    min_side: int = 1,
) -> Windows:
    """Propose windows that may hold an object, the best first.

    Args:
        image: uint8 `[H, W, 3]`, RGB.
        detector: finds the edges.
        alpha: IoU of neighbouring windows of the sliding search.
        beta: IoU above which a window is suppressed by a better one.
        eta: what `beta` is multiplied by after every window that is kept, while it is above 0.5.
        min_score: windows of lower scores are dropped.
        max_windows: keep only the first so many windows.
        min_area: of the smallest windows that are searched, square pixels.
        max_aspect: of a window's sides, either way.
        gamma: how fast the affinity of two groups of edges falls with their angle.
        kappa: how much larger windows must have more edges: the power of their half perimeter.
        min_side: windows with a side below this many pixels are dropped, after the others.

    Returns:
        float32 `[n, 4]`: distinct windows by falling score, 0-based half-open pixels `[x0, y0, x1, y1)`. None for an
        image without edges, or too small to hold one.

    Raises:
        ConfigError: a wrong image shape or type, or a parameter out of range.
        DataError: `too-large`: an image of `MAX_PERIMETER` or more.
    """
    import cv2

    check_image(image, "EdgeBoxes")
    _check(alpha, beta, eta, min_area, max_aspect)
    _check_numbers(min_score=min_score, max_windows=max_windows, gamma=gamma, kappa=kappa, min_side=min_side)
    height, width = image.shape[:2]
    if width + height >= MAX_PERIMETER:
        limit = f"the limit is a width and height of {MAX_PERIMETER} together"
        raise DataError("too-large", f"{width} x {height} pixels are too many for EdgeBoxes, {limit}")
    if min(height, width) < max(min_side, MIN_IMAGE_SIDE) or height * width < min_area:
        return np.zeros((0, 4), np.float32)
    edges = detector(image)
    search = cv2.ximgproc.createEdgeBoxes(
        alpha=alpha,
        beta=beta,
        eta=eta,
        minScore=min_score,
        maxBoxes=max_windows,
        maxAspectRatio=max_aspect,
        minBoxArea=min_area,
        gamma=gamma,
        kappa=kappa,
    )
    found, _ = search.getBoundingBoxes(edges.strength, edges.orientation)
    return _windows(found, width, height, min_side)[:max_windows]


def _windows(found: Any, width: int, height: int, min_side: int) -> Windows:
    """Turn OpenCV's `[x + 1, y + 1, x1 - x, y1 - y]`, where x1 and y1 are the last pixels inside, into windows."""
    boxes = np.asarray(found, np.int64).reshape(-1, 4)
    low = np.maximum(boxes[:, :2] - 1, 0)
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], [width, height])
    large = (high - low).min(axis=1, initial=max(width, height)) >= max(min_side, 1)
    return join_windows([np.concatenate([low, high], axis=1)[large].astype(np.float32)])


def _check(alpha: float, beta: float, eta: float, min_area: float, max_aspect: float) -> None:
    for name, value, low, high in (("alpha", alpha, 0, 0.95), ("beta", beta, 0, 1), ("eta", eta, 0, 1)):
        if not low < value <= high:
            raise ConfigError(f"EdgeBoxes: {name} must be above {low} and at most {high}, got {value}")
    # Below this a window can shrink to nothing in the search.
    if not min_area >= 100:
        raise ConfigError(f"EdgeBoxes: min_area must be at least 100 square pixels, got {min_area}")
    if not max_aspect >= 1:
        raise ConfigError(f"EdgeBoxes: max_aspect must be at least 1, got {max_aspect}")


def _check_numbers(**values: float) -> None:
    for name, value in values.items():
        whole = name in ("max_windows", "min_side")
        if not (value >= 1 if whole else value > 0):
            raise ConfigError(f"EdgeBoxes: {name} must be {'at least 1' if whole else 'positive'}, got {value}")
