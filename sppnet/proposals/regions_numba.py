"""What is measured of an image's segments, compiled: sizes, boxes, histograms, and which of them touch."""

from __future__ import annotations

from typing import Any

import numpy as np

from sppnet.arrays import Array
from sppnet.compiling import compiled

_SEEN = 4096  # pairs of segments that are remembered, a power of two
_SPREAD = 0x9E37_79B9_7F4A_7C15  # multiplies a pair into an even hash


@compiled()
def gradient_bins(along_x: Array, along_y: Array, scale: Any, bins: int) -> Array:
    """Sort a channel's gradients in 8 directions into bins.

    A gradient is positive in one of two opposite directions and falls in the first bin of the other, so four numbers
    hold all eight. At equal sigmas, a derivative in any direction is a combination of those along x and y.

    Args:
        along_x: float32 `[H, W]`.
        along_y: float32 `[H, W]`.
        scale: float32, bins a unit of gradient.
        bins: in each direction.

    Returns:
        uint8 `[4, H, W]`, for the lines at 0, 45, 90 and 135 degrees: the bin (the last for what lies beyond) in the
        line's direction, or less the bin against it, plus `bins - 1`.
    """
    height, width = along_x.shape
    found = np.empty((4, height, width), np.uint8)
    half = np.float32(np.sqrt(0.5))
    for y in range(height):
        row_x, row_y = along_x[y], along_y[y]
        right, down_right, down, down_left = found[0, y], found[1, y], found[2, y], found[3, y]
        for x in range(width):
            dx, dy = row_x[x], row_y[x]
            right[x] = _bin(dx * scale, bins)
            down_right[x] = _bin((dx + dy) * half * scale, bins)
            down[x] = _bin(dy * scale, bins)
            down_left[x] = _bin((dy - dx) * half * scale, bins)
    return found


@compiled()
def _bin(value: Any, bins: int) -> Any:
    last = np.float32(bins - 1)
    clipped = min(max(value, -last), last)
    # A float32 this large has no room for fractions: adding rounds to the nearest, halves to even, as numpy does.
    whole = np.float32(1.5 * 2**23)
    return np.uint8(np.int32(((clipped + whole) - whole) + last))


def describe(labels: Array, colours: Array, gradients: Array, n_colours: int, n_gradients: int) -> tuple[Array, ...]:
    """Measure every segment.

    Args:
        labels: int32 `[H, W]`, from 0 without gaps.
        colours: uint8 `[H, W, 3]`: the bin of each channel.
        gradients: uint8 `[4, H, W]` of `gradient_bins`.
        n_colours: bins of a channel.
        n_gradients: bins of a direction.

    Returns:
        int32 sizes `[n]`, int32 boxes `[n, 4]` (0-based, half-open), and two kinds of histograms that each sum to 1:
        float32 colours `[n, 3 * n_colours]` and textures `[n, 8 * n_gradients]`.
    """
    height, width = labels.shape
    n = int(labels.max()) + 1
    sizes = np.zeros(n, np.int32)
    boxes = np.tile(np.array([width, height, 0, 0], np.int32), (n, 1))
    bins = np.array([n_colours] * 3 + [2 * n_gradients - 1] * 4)
    counts = np.zeros((n, bins.sum()), np.int32)
    _count(labels, colours, gradients, np.cumsum(bins) - bins, sizes, boxes, counts)
    shares = counts.astype(np.float32)
    lines = shares[:, 3 * n_colours :].reshape(n, 4, 2 * n_gradients - 1)
    # Both directions of each line, from the bin in the middle outwards; what is in no other bin is in the first.
    texture = np.concatenate([lines[:, :, n_gradients - 1 :], lines[:, :, n_gradients - 1 :: -1]], axis=1)
    texture[:, :, 0] = sizes[:, None] - texture[:, :, 1:].sum(axis=2)
    whole = sizes[:, None].astype(np.float32)
    return sizes, boxes, shares[:, : 3 * n_colours] / (3 * whole), texture.reshape(n, -1) / (8 * whole)


@compiled()
def _count(
    labels: Array, colours: Array, gradients: Array, first: Array, sizes: Array, boxes: Array, counts: Array
) -> None:
    """Add an image's pixels to its segments, run by run; `first` are the 7 histograms' first columns of `counts`."""
    height, width = labels.shape
    c0, c1, c2, g0, g1, g2, g3 = first[0], first[1], first[2], first[3], first[4], first[5], first[6]
    for y in range(height):
        start = 0
        while start < width:
            segment = labels[y, start]
            own, box = counts[segment], boxes[segment]
            x = start
            while x < width and labels[y, x] == segment:
                own[c0 + colours[y, x, 0]] += 1
                own[c1 + colours[y, x, 1]] += 1
                own[c2 + colours[y, x, 2]] += 1
                own[g0 + gradients[0, y, x]] += 1
                own[g1 + gradients[1, y, x]] += 1
                own[g2 + gradients[2, y, x]] += 1
                own[g3 + gradients[3, y, x]] += 1
                x += 1
            sizes[segment] += x - start
            box[0], box[1] = min(box[0], start), min(box[1], y)
            box[2], box[3] = max(box[2], x), y + 1
            start = x


def neighbours(labels: Array) -> Array:
    """List the pairs of segments that touch (8-connected): int64 `[m, 2]`, the first below the second, sorted."""
    n = int(labels.max()) + 1
    pairs = np.unique(_contacts(labels, n))
    return np.stack([pairs // n, pairs % n], axis=1)


@compiled()
def _contacts(labels: Array, n: int) -> Array:
    """Return each pair of touching segments as `first * n + second`, at least once: int64."""
    height, width = labels.shape
    keys = np.empty(6 * height * width, np.int64)
    seen = np.full(_SEEN, -1, np.int64)
    count = 0
    # Each square of 2 x 2 pixels (1 x 2 or 2 x 1 in an image that thin); in most of them nothing touches.
    for y in range(max(height - 1, 1)):
        top, bottom = labels[y], labels[min(y + 1, height - 1)]
        for x in range(max(width - 1, 1)):
            x2 = min(x + 1, width - 1)
            a, b, c, d = top[x], top[x2], bottom[x], bottom[x2]
            if (a == b) & (a == c) & (a == d):
                continue
            for p, q in ((a, b), (a, c), (a, d), (b, c), (b, d), (c, d)):
                if p != q:
                    key = np.int64(min(p, q)) * n + max(p, q)
                    slot = (np.uint64(key) * np.uint64(_SPREAD)) >> np.uint64(52)
                    if seen[slot] != key:
                        seen[slot] = key
                        keys[count] = key
                        count += 1
    return keys[:count]
