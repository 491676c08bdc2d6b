"""Selective search (Uijlings et al., IJCV 2013): the candidate windows of an image (section 4.1 of the paper).

This is the "fast" mode with the parameters of the SPP-net and R-CNN releases: two colour spaces (HSV, Lab),
graph segmentation with k = 50 and 100 (minimum segment size = k, sigma = 0.8) and two similarity sets
(colour + texture + size + fill, texture + size + fill), so 8 hierarchies.

It follows the authors' MATLAB code where OpenCV's `ximgproc.segmentation` differs (k = 150, 300, 450; 4-connected
pixels; hue in 0..179; Scharr texture; small regions first), and takes a fourteenth of its time at the same
parameters (`sppnet bench proposals`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sppnet.arrays import Array, Float32s, Integers, Pixels, Windows
from sppnet.errors import ConfigError
from sppnet.proposals.windows import check_image, first_of_each

COLOUR_BINS = 25
"""Per channel of a colour space."""
TEXTURE_BINS = 10
"""Per orientation."""
TEXTURE_SIGMA = 0.8
"""Of the Gaussian derivatives, pixels."""
TEXTURE_MAX = 0.43
"""The gradient that falls in the last texture bin, for intensities in 0..1."""


def selective_search(
    image: Pixels,
    *,
    k: Sequence[int] = (50, 100),
    sigma: float = 0.8,
    min_side: int = 20,
    max_windows: int | None = None,
    resize_width: int | None = None,
    seed: int = 0,
) -> Windows:
    """Propose windows that may hold an object.

    Args:
        image: uint8 `[H, W, 3]`, RGB.
        k: the graph segmentation's scales; each is its own minimum segment size too.
        sigma: the Gaussian smoothing before the segmentation, pixels.
        min_side: windows with a side below this many pixels are dropped.
        max_windows: keep only the first so many windows, by priority.
        resize_width: search in the image resized to this width, and scale the windows back (R-CNN: 500).
            `min_side` counts pixels of the resized image then.
        seed: of the pseudo-random priority order.

    Returns:
        float32 `[n, 4]`: distinct windows by falling priority, 0-based half-open pixels `[x0, y0, x1, y1)`
        of the original image. None for an image too small to hold one.

    Raises:
        ConfigError: a wrong image shape or type, or a parameter out of range.
    """
    check_image(image, "selective search")
    _check(k, sigma, min_side, max_windows, resize_width)
    search_image = image if resize_width is None else _resize(image, resize_width)
    height, width = search_image.shape[:2]
    if min(height, width) < max(min_side, 2):
        return np.zeros((0, 4), np.float32)
    found = list(_hierarchies(search_image, k, sigma))
    boxes = np.concatenate([boxes for boxes, _ in found])
    ranks = np.concatenate([ranks for _, ranks in found])
    large = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) >= min_side
    boxes, ranks = boxes[large], ranks[large]
    order = np.argsort(ranks * np.random.default_rng(seed).random(len(ranks)), kind="stable")
    boxes = boxes[order]
    windows: Windows = boxes[first_of_each(boxes)][:max_windows].astype(np.float32)
    if resize_width is not None:
        scale = np.array([image.shape[1] / width, image.shape[0] / height] * 2, np.float32)
        windows = windows * scale
    return windows


def _check(k: Sequence[int], sigma: float, min_side: int, max_windows: int | None, resize_width: int | None) -> None:
    if not k or min(k) < 1:
        raise ConfigError(f"selective search: k must be numbers of at least 1, got {k}")
    if not sigma > 0:
        raise ConfigError(f"selective search: sigma must be positive, got {sigma}")
    for name, value in (("min_side", min_side), ("max_windows", max_windows), ("resize_width", resize_width)):
        if value is not None and value < 1:
            raise ConfigError(f"selective search: {name} must be at least 1, got {value}")


def _resize(image: Pixels, width: int) -> Pixels:
    import cv2

    height = max(1, round(image.shape[0] * width / image.shape[1]))
    method = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


def _hierarchies(image: Pixels, k: Sequence[int], sigma: float) -> Iterator[tuple[NDArray[np.int32], Integers]]:
    """Yield the boxes int32 `[n, 4]` of each hierarchy with their ranks: 1 for the last merged, the whole image."""
    import cv2

    from sppnet.proposals.grouping_numba import group
    from sppnet.proposals.regions_numba import describe, neighbours
    from sppnet.proposals.segmentation_numba import segment

    area = image.shape[0] * image.shape[1]
    radius = math.ceil(4 * sigma)
    for conversion in (cv2.COLOR_RGB2HSV_FULL, cv2.COLOR_RGB2Lab):
        colours = np.asarray(cv2.cvtColor(image, conversion), np.uint8)
        smooth = cv2.GaussianBlur(
            colours.astype(np.float32),
            (2 * radius + 1, 2 * radius + 1),
            sigma,
            borderType=cv2.BORDER_REPLICATE,
        )
        bins, gradients = np.asarray(cv2.LUT(colours, _COLOUR_BIN), np.uint8), _gradients(colours[:, :, 0])
        for labels in segment(np.asarray(smooth, np.float32), k):
            sizes, boxes, colour, texture = describe(labels, bins, gradients, COLOUR_BINS, TEXTURE_BINS)
            pairs = neighbours(labels)
            yield boxes, np.full(len(boxes), len(boxes), np.int64)
            for histograms in (np.concatenate([colour, texture], axis=1), texture):
                merged = group(sizes, boxes, histograms, pairs, area)
                yield merged, np.arange(len(merged), 0, -1)


_COLOUR_BIN = np.round(np.arange(256) * ((COLOUR_BINS - 1) / 255)).astype(np.uint8)
"""Of each value of a channel."""


def _gradients(channel: Pixels) -> NDArray[np.uint8]:
    """Return the bins of a channel's gradients by `gradient_bins`; the authors' code takes the first channel alone."""
    import cv2

    from sppnet.proposals.regions_numba import gradient_bins

    x = np.arange(-4, 5, dtype=np.float64)
    gauss = np.exp(-(x**2) / (2 * TEXTURE_SIGMA**2))
    gauss /= gauss.sum()
    slope = x * gauss / (x**2 * gauss).sum()
    intensity = channel.astype(np.float32) / np.float32(255)

    def filtered(along_x: Array, along_y: Array) -> Float32s:
        result = cv2.sepFilter2D(intensity, cv2.CV_32F, along_x, along_y, borderType=cv2.BORDER_REPLICATE)
        return np.asarray(result, np.float32)

    dx, dy = filtered(slope, gauss), filtered(gauss, slope)
    found: NDArray[np.uint8] = gradient_bins(dx, dy, np.float32((TEXTURE_BINS - 1) / TEXTURE_MAX), TEXTURE_BINS)
    return found
