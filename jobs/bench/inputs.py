"""What several benchmarks work on: an image of a usual size, its map, its windows, and the layers after them."""

from __future__ import annotations

import numpy as np

from sppnet.arrays import Float64s
from sppnet.sizes import Size

IMAGE = Size(500, 375)
SCALE = 688
MAP = Size(57, 43)  # of ZF-5 for that image at that scale
CHANNELS = 256
HIDDEN = (4096, 4096)  # outputs of fc6 and fc7


def proposal_windows(windows: int, seed: int) -> Float64s:
    """Make windows such as selective search gives for a 500 x 375 image: float64 `[n, 4]` pixels.

    Sides are 20 pixels and more, log-uniform; families of windows lie around the same regions.
    """
    rng = np.random.default_rng(seed)
    width, height = IMAGE
    families = max(1, windows // 4)
    sides = np.exp(rng.uniform(np.log(20), np.log([width, height]), (families, 2)))
    corner = rng.uniform(0, 1, (families, 2)) * ((width, height) - sides)
    members = np.concatenate([corner, corner + sides], axis=1)[rng.integers(0, families, windows)]
    grown = members + rng.normal(0, 6, (windows, 4))  # regions grow segment by segment: near copies
    boxes = np.round(np.clip(grown, 0, [width, height, width, height]))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    return np.asarray(boxes, dtype=np.float64)
