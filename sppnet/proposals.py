"""Selective search (Uijlings et al., IJCV 2013): the candidate windows of an image (section 4.1 of the paper).

This is the "fast" mode with the parameters of the SPP-net and R-CNN releases: two colour spaces (HSV, Lab), graph
segmentation with k = 50 and 100 (minimum segment size = k, sigma = 0.8) and two similarity sets, so 8 hierarchies.
OpenCV's own `switchToSelectiveSearchFast` uses k = 150, 300, 450 and finds other, fewer windows.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sppnet.errors import ConfigError


def selective_search(
    image: npt.NDArray[np.uint8],
    *,
    k: Sequence[int] = (50, 100),
    sigma: float = 0.8,
    min_side: int = 20,
    max_windows: int | None = None,
    seed: int = 0,
) -> npt.NDArray[np.float32]:
    """Propose windows that may hold an object.

    Args:
        image: uint8 `[H, W, 3]`, RGB.
        k: the graph segmentation's scales; each is its own minimum segment size too.
        sigma: the Gaussian smoothing before the segmentation, pixels.
        min_side: windows with a side below this many pixels are dropped.
        max_windows: keep only the first so many windows, by priority.
        seed: of the pseudo-random priority order.

    Returns:
        float32 `[n, 4]`: distinct windows by falling priority, 0-based half-open pixels `[x0, y0, x1, y1)`.

    Raises:
        ConfigError: a wrong image shape or type, or a parameter out of range.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ConfigError(f"selective search needs a uint8 [H, W, 3] image, got {image.dtype} {image.shape}")
    if not k or min(k) < 1 or sigma <= 0 or (max_windows is not None and max_windows < 1):
        raise ConfigError(f"selective search: bad parameters k={k} sigma={sigma} max_windows={max_windows}")
    if min(image.shape[:2]) < max(min_side, 2):
        return np.zeros((0, 4), np.float32)
    boxes = _search(image, k, sigma, seed).astype(np.float32)
    boxes = boxes[(boxes[:, 2] >= min_side) & (boxes[:, 3] >= min_side)][:max_windows]
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _search(image: npt.NDArray[np.uint8], k: Sequence[int], sigma: float, seed: int) -> npt.NDArray[np.int32]:
    """Distinct boxes `[x, y, w, h]` of all hierarchies, by priority."""
    import cv2

    segmentation = cv2.ximgproc.segmentation
    search = segmentation.createSelectiveSearchSegmentation()
    for conversion in (cv2.COLOR_RGB2HSV, cv2.COLOR_RGB2Lab):
        search.addImage(cv2.cvtColor(image, conversion))
    for scale in k:
        search.addGraphSegmentation(segmentation.createGraphSegmentation(sigma, float(scale), int(scale)))
    # Built anew for every image: the colour and texture strategies cache histograms by position in the list.
    colour, texture, size, fill = (
        getattr(segmentation, f"createSelectiveSearchSegmentationStrategy{name}")()
        for name in ("Color", "Texture", "Size", "Fill")
    )
    combine = segmentation.createSelectiveSearchSegmentationStrategyMultiple
    search.addStrategy(combine(colour, texture, size, fill))
    search.addStrategy(combine(texture, size, fill))
    # OpenCV orders the boxes with libc's rand().
    ctypes.CDLL(None).srand(seed % 2**32)
    boxes: npt.NDArray[np.int32] = search.process()
    return boxes
