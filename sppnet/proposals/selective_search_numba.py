"""The two loops of selective search, compiled: graph segmentation and hierarchical grouping.

Graph segmentation is Felzenszwalb and Huttenlocher's (IJCV 2004) on the grid of 8-connected pixels. Its edges
depend on the colour space alone, so they are weighed and sorted once and shared by every `k`. Grouping is
Uijlings et al.'s (IJCV 2013): merge the two most similar neighbouring regions until one is left.

Ties are broken by index everywhere, so the results are a pure function of the input.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np

from sppnet.arrays import Array
from sppnet.compiling import compiled

_DIRECTIONS = 4  # right, down, down-right, up-right: every pair of 8-neighbours once


@compiled()
def _edge_weights(image: Array) -> Array:
    """Return each pixel's colour distance to 4 of its 8 neighbours, infinite where none is: float32 `[H * W * 4]`."""
    height, width, _ = image.shape
    weights = np.full(height * width * _DIRECTIONS, np.inf, np.float32)
    for y in range(height):
        for x in range(width):
            for d in range(_DIRECTIONS):
                y2 = y + (0, 1, 1, -1)[d]
                x2 = x + (1, 0, 1, 1)[d]
                if 0 <= y2 < height and x2 < width:
                    total = np.float32(0)
                    for c in range(3):
                        difference = image[y, x, c] - image[y2, x2, c]
                        total += difference * difference
                    weights[(y * width + x) * _DIRECTIONS + d] = np.sqrt(total)
    return weights


def sorted_edges(image: Array) -> tuple[Array, Array]:
    """Weigh the pixel grid's edges and sort them.

    Args:
        image: float32 `[H, W, 3]`, smoothed.

    Returns:
        The edges' float32 weights, rising, and their uint32 numbers: `4 * pixel + direction`.
    """
    weights: Array = _edge_weights(image)
    # Weights are >= 0, so their bits sort like their values; the number in the low half makes the order total.
    keys = weights.view(np.uint32).astype(np.uint64) << np.uint64(32)
    keys |= np.arange(len(keys), dtype=np.uint64)
    keys.sort()
    height, width, _ = image.shape
    keys = keys[: len(keys) - (3 * (height + width) - 2)]  # the infinite ones, past the border
    return (keys >> np.uint64(32)).astype(np.uint32).view(np.float32), keys.astype(np.uint32)


@compiled()
def _ends(edge: Any, width: int) -> tuple[Any, Any]:
    """Return the two pixels of an edge."""
    pixel = np.int64(edge) >> 2
    direction = np.int64(edge) & 3
    right = 1 if direction != 1 else 0
    down = 0 if direction == 0 else (-width if direction == 3 else width)
    return pixel, pixel + right + down


@compiled()
def _root(parent: Array, node: int) -> int:
    while parent[node] != node:
        # Halving the path as it is walked keeps every later walk short.
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@compiled()
def _join(parent: Array, size: Array, a: int, b: int) -> int:
    if size[a] < size[b]:
        a, b = b, a
    parent[b] = a
    size[a] += size[b]
    return a


@compiled()
def segment(weights: Array, edges: Array, height: int, width: int, k: float, min_size: int) -> Array:
    """Cut an image into segments along its graph of pixels.

    Args:
        weights: float32, rising: of `sorted_edges`.
        edges: uint32, likewise.
        height: of the image, pixels.
        width: of the image, pixels.
        k: the larger, the larger the segments.
        min_size: segments of fewer pixels are joined to a neighbour.

    Returns:
        int32 `[H, W]`: each pixel's segment, numbered from 0 in the order of their first pixels.
    """
    pixels = height * width
    parent = np.arange(pixels).astype(np.int32)
    size = np.ones(pixels, np.int32)
    threshold = np.full(pixels, k, np.float32)
    open_edges = np.empty(len(edges), np.uint32)
    n_open = 0
    for i in range(len(edges)):
        a, b = _ends(edges[i], width)
        a, b = _root(parent, a), _root(parent, b)
        if a == b:
            continue
        # Joined unless the edge is stronger than what already varies within either (Felzenszwalb's predicate).
        if weights[i] <= threshold[a] and weights[i] <= threshold[b]:
            a = _join(parent, size, a, b)
            threshold[a] = weights[i] + np.float32(k / size[a])
        else:
            open_edges[n_open] = edges[i]
            n_open += 1
    for i in range(n_open):
        a, b = _ends(open_edges[i], width)
        a, b = _root(parent, a), _root(parent, b)
        if a != b and (size[a] < min_size or size[b] < min_size):
            _join(parent, size, a, b)
    labels = np.empty(pixels, np.int32)
    number = np.full(pixels, -1, np.int32)
    count = 0
    for pixel in range(pixels):
        a = _root(parent, pixel)
        if number[a] < 0:
            number[a] = count
            count += 1
        labels[pixel] = number[a]
    return labels.reshape(height, width)


@compiled()
def describe(labels: Array, bins: Array, n_bins: int) -> tuple[Array, Array, Array]:
    """Measure every segment: its size, its box, and how many of its pixels fall in each bin.

    Args:
        labels: int32 `[H, W]` of `segment`.
        bins: int16 `[H, W, D]`: the D histogram bins that each pixel falls in.
        n_bins: the number of bins.

    Returns:
        int32 sizes `[n]`, int32 boxes `[n, 4]` (0-based, half-open), float32 counts `[n, n_bins]`.
    """
    height, width = labels.shape
    n = labels.max() + 1
    sizes = np.zeros(n, np.int32)
    boxes = np.zeros((n, 4), np.int32)
    boxes[:, 0] = width
    boxes[:, 1] = height
    counts = np.zeros((n, n_bins), np.float32)
    for y in range(height):
        for x in range(width):
            r = labels[y, x]
            sizes[r] += 1
            boxes[r, 0] = min(boxes[r, 0], x)
            boxes[r, 1] = min(boxes[r, 1], y)
            boxes[r, 2] = max(boxes[r, 2], x + 1)
            boxes[r, 3] = max(boxes[r, 3], y + 1)
            for d in range(bins.shape[2]):
                counts[r, bins[y, x, d]] += 1
    return sizes, boxes, counts


@compiled()
def _contacts(labels: Array) -> Array:
    """Return each pair of touching segments `first * n + second` at least once: int64."""
    height, width = labels.shape
    n = np.int64(labels.max() + 1)
    keys = np.empty(height * width * _DIRECTIONS, np.int64)
    count = 0
    for y in range(height):
        for x in range(width):
            a = labels[y, x]
            for d in range(_DIRECTIONS):
                y2 = y + (0, 1, 1, -1)[d]
                x2 = x + (1, 0, 1, 1)[d]
                if 0 <= y2 < height and x2 < width and labels[y2, x2] != a:
                    b = labels[y2, x2]
                    key = min(a, b) * n + max(a, b)
                    if count == 0 or keys[count - 1] != key:
                        keys[count] = key
                        count += 1
    return keys[:count]


def neighbours(labels: Array) -> Array:
    """List the pairs of segments that touch (8-connected): int64 `[m, 2]`, the first below the second, sorted."""
    pairs = np.unique(_contacts(labels))
    n = int(labels.max()) + 1
    return np.stack([pairs // n, pairs % n], axis=1)


@compiled()
def _similarity(a: int, b: int, sizes: Array, boxes: Array, histograms: Array, area: float) -> Any:
    """Return the mean of the similarities: one per histogram (their intersection), size and fill."""
    joint = sizes[a] + sizes[b]
    w = max(boxes[a, 2], boxes[b, 2]) - min(boxes[a, 0], boxes[b, 0])
    h = max(boxes[a, 3], boxes[b, 3]) - min(boxes[a, 1], boxes[b, 1])
    total = (1 - joint / area) + (1 - (w * h - joint) / area)
    for i in range(histograms.shape[1]):
        total += min(histograms[a, i], histograms[b, i])
    return total


@compiled()
def group(sizes: Array, boxes: Array, histograms: Array, pairs: Array, area: int) -> Array:
    """Merge the two most similar neighbours until nothing is left to merge.

    Args:
        sizes: int32 `[n]` of `describe`.
        boxes: int32 `[n, 4]`, likewise.
        histograms: float32 `[n, D]`: each kind of histogram sums to 1, so its intersection lies in 0..1.
        pairs: int64 `[m, 2]` of `neighbours`.
        area: of the image, pixels.

    Returns:
        int32 `[n - 1, 4]`: the boxes of the merged regions, in the order of merging.
    """
    n = len(sizes)
    size = np.zeros(2 * n, np.int64)
    box = np.zeros((2 * n, 4), np.int32)
    histogram = np.zeros((2 * n, histograms.shape[1]), np.float32)
    size[:n], box[:n], histogram[:n] = sizes, boxes, histograms
    alive = np.ones(2 * n, np.bool_)
    seen = np.full(2 * n, -1, np.int64)
    touching = [[0][:0] for _ in range(2 * n)]
    heap = [(0.0, 0, 0)][:0]
    for i in range(len(pairs)):
        a, b = pairs[i]
        touching[a].append(b)
        touching[b].append(a)
        heap.append((-_similarity(a, b, size, box, histogram, area), a, b))
    heapq.heapify(heap)
    new = n
    while len(heap) > 0:
        _, a, b = heapq.heappop(heap)
        if not (alive[a] and alive[b]):  # merged since the pair was pushed; taking it out of the heap would cost more
            continue
        alive[a] = alive[b] = False
        size[new] = size[a] + size[b]
        box[new, 0], box[new, 1] = min(box[a, 0], box[b, 0]), min(box[a, 1], box[b, 1])
        box[new, 2], box[new, 3] = max(box[a, 2], box[b, 2]), max(box[a, 3], box[b, 3])
        histogram[new] = (size[a] * histogram[a] + size[b] * histogram[b]) / size[new]
        for old in (a, b):
            for other in touching[old]:
                if alive[other] and seen[other] != new:
                    seen[other] = new
                    touching[new].append(other)
                    touching[other].append(new)
                    similarity = _similarity(other, new, size, box, histogram, area)
                    heapq.heappush(heap, (-similarity, other, new))
        new += 1
    return box[n:new]
