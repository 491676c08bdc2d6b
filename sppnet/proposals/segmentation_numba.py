"""Graph segmentation (Felzenszwalb and Huttenlocher, IJCV 2004) on the grid of 8-connected pixels, compiled.

What costs time here are branches that can't be foreseen and memory read out of order, hence:

- edges depend on the image alone: they are weighed once for every `k`, and dealt into buckets by the high bits of their
  weights. Only those that still lie between two segments when their bucket's turn comes are sorted and looked at one
  by one: half of them never are;
- a pixel knows its segment at once. The smaller of two segments is relabelled, and most of those are a pixel or two.

Ties are broken by an edge's number everywhere, so the result is a pure function of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sppnet.arrays import Array
from sppnet.compiling import compiled

_INFINITE = 0x7F80_0000  # the bits of a float32
_DIGIT = 9  # bits; a bucket's weights differ in two such digits
_LOW = 2 * _DIGIT
_BUCKETS = _INFINITE >> _LOW
_FEW = 24  # edges of a bucket, up to which inserting beats counting
_BLOCK = 2048  # edges that are looked through at once


class _Segments(NamedTuple):
    """The segments at one scale, each called after one of its pixels.

    Attributes:
        label: uint32 `[pixels]`: each pixel's segment.
        after: uint32 `[pixels]`: the next pixel of the same segment, round and round.
        limits: float32 `[pixels]`: the weight up to which an edge joins the segment of that name to another.
        sizes: int32 `[pixels]`: its pixels.
    """

    label: Array
    after: Array
    limits: Array
    sizes: Array


def segment(image: Array, scales: Sequence[int]) -> Array:
    """Cut an image into segments along its graph of pixels, at several scales.

    Args:
        image: float32 `[H, W, 3]`, smoothed.
        scales: the published `k`: the larger, the larger the segments. Segments of fewer than `k` pixels are joined
            to a neighbour.

    Returns:
        int32 `[len(scales), H, W]`: each pixel's segment, numbered from 0 in the order of their first pixels.
    """
    height, width, _ = image.shape
    edges, first = _deal(edge_weights(image).view(np.uint32))
    pixels = np.arange(height * width, dtype=np.uint32)
    both = np.empty((len(pixels), 2), np.float32)  # side by side, since they are looked at together
    segments = _Segments(pixels.copy(), pixels.copy(), both[:, 0], both.view(np.int32)[:, 1])
    steps = np.array([1, width, width + 1, 1 - width])  # from a pixel to the other ends of its edges
    spare = np.empty((2, np.diff(first).max()), np.uint64)
    left = np.empty(len(edges) + 1, np.uint32)
    numbers = np.empty((len(scales), len(pixels)), np.int32)
    for k, row in zip(scales, numbers, strict=True):
        segments.label[:] = segments.after[:] = pixels
        segments.limits[:], segments.sizes[:] = k, 1
        count = _join_alike(edges, first, steps, segments, k, left, spare)
        _join_small(left[:count], steps, segments, k)
        _number(segments.label, row)
    return numbers.reshape(-1, height, width)


@compiled()
def edge_weights(image: Array) -> Array:
    """Return each pixel's colour distance to 4 of its 8 neighbours.

    Args:
        image: float32 `[H, W, 3]`.

    Returns:
        float32 `[H * W * 4]`: right, down, down-right, up-right, so every pair of neighbours once; infinite where there
        is none.
    """
    height, width, _ = image.shape
    planes = np.full((3, height + 2, width + 1), np.inf, np.float32)  # so that no pixel's neighbours need a check
    for y in range(height):
        for x in range(width):
            for c in range(3):
                planes[c, y + 1, x] = image[y, x, c]
    weights = np.empty((height, width, 4), np.float32)
    for y in range(height):
        # Rows of their own: the compiler takes several pixels at once.
        r0, r1, r2 = planes[0, y + 1], planes[1, y + 1], planes[2, y + 1]
        d0, d1, d2 = planes[0, y + 2], planes[1, y + 2], planes[2, y + 2]
        u0, u1, u2 = planes[0, y], planes[1, y], planes[2, y]
        row = weights[y]
        for x in range(width):
            a, b, c = r0[x], r1[x], r2[x]
            row[x, 0] = _distance(a - r0[x + 1], b - r1[x + 1], c - r2[x + 1])
            row[x, 1] = _distance(a - d0[x], b - d1[x], c - d2[x])
            row[x, 2] = _distance(a - d0[x + 1], b - d1[x + 1], c - d2[x + 1])
            row[x, 3] = _distance(a - u0[x + 1], b - u1[x + 1], c - u2[x + 1])
    return weights.ravel()


@compiled()
def _distance(a: Any, b: Any, c: Any) -> Any:
    return np.sqrt(a * a + b * b + c * c)


@compiled()
def _deal(keys: Array) -> tuple[Array, Array]:
    """Put edges into buckets by the high bits of their weights, in the order of their numbers.

    Args:
        keys: uint32, the bits of the weights: they are not negative, so their bits sort like their values.

    Returns:
        uint64 weight's bits and edge's number of the edges that are; int64 where in them each bucket begins.
    """
    place = np.zeros(_BUCKETS + 1, np.int64)
    for i in range(len(keys)):
        place[keys[i] >> np.uint32(_LOW)] += 1
    first = np.empty(_BUCKETS + 1, np.int64)
    total = 0
    for bucket in range(_BUCKETS + 1):
        first[bucket] = total
        total += place[bucket]
        place[bucket] = first[bucket]
    edges = np.empty(len(keys), np.uint64)
    for i in range(len(keys)):
        bucket = keys[i] >> np.uint32(_LOW)
        at = place[bucket]
        place[bucket] = at + 1
        edges[np.uint64(at)] = (np.uint64(keys[i]) << np.uint64(32)) | np.uint64(i)
    return edges[: first[_BUCKETS]], first


@compiled()
def _join_alike(
    edges: Array, first: Array, steps: Array, segments: _Segments, k: int, left: Array, spare: Array
) -> Any:
    """Join segments along edges no stronger than what varies within either, bucket by bucket.

    Edges of small segments that are not joined are written to `left`; return how many.
    """
    count = 0
    places = np.empty(1 << _DIGIT, np.int32)
    found, other = spare[0], spare[1]
    for bucket in range(len(first) - 1):
        begin, end = first[bucket], first[bucket + 1]
        if begin < end:
            n = _keep_open(edges[begin:end], steps, segments.label, found)
            _sort(found, other, n, places)
            count = _walk(found[:n], steps, segments, k, left, count)
    return count


@compiled()
def _keep_open(edges: Array, steps: Array, label: Array, found: Array) -> Any:
    """Write those edges to `found` whose ends lie in two segments; return how many."""
    n = np.uint64(0)
    for i in range(len(edges)):
        number = np.uint32(edges[i])
        pixel = np.uint64(number >> np.uint32(2))
        found[n] = edges[i]
        n += np.uint64(label[pixel] != label[np.uint64(np.int64(pixel) + steps[number & np.uint32(3)])])
    return np.int64(n)


@compiled()
def _sort(edges: Array, spare: Array, n: int, places: Array) -> None:
    """Sort the first `n` edges of a bucket by weight; equal ones stay in their order."""
    if n <= _FEW:
        for i in range(1, n):
            edge = edges[i]
            j = i
            while j > 0 and edges[j - 1] > edge:
                edges[j] = edges[j - 1]
                j -= 1
            edges[j] = edge
        return
    _sort_digit(edges, spare, n, np.uint64(32), places)
    _sort_digit(spare, edges, n, np.uint64(32 + _DIGIT), places)


@compiled()
def _sort_digit(edges: Array, to: Array, n: int, shift: Any, places: Array) -> None:
    mask = np.uint64((1 << _DIGIT) - 1)
    for digit in range(len(places)):
        places[digit] = 0
    for i in range(n):
        places[(edges[i] >> shift) & mask] += 1
    total = 0
    for digit in range(len(places)):
        count = places[digit]
        places[digit] = total
        total += count
    for i in range(n):
        edge = edges[i]
        digit = (edge >> shift) & mask
        at = places[digit]
        places[digit] = at + 1
        to[np.uint64(at)] = edge


@compiled()
def _walk(edges: Array, steps: Array, segments: _Segments, k: int, left: Array, count: int) -> Any:
    """Do what `_join_alike` says with the sorted edges of a bucket."""
    label, limits, sizes = segments.label, segments.limits, segments.sizes
    weights = edges.view(np.float32)  # the high halves of the edges
    for i in range(len(edges)):
        number = np.uint32(edges[i])
        pixel = np.uint64(number >> np.uint32(2))
        a, b = label[pixel], label[np.uint64(np.int64(pixel) + steps[number & np.uint32(3)])]
        if a == b:
            continue
        size_a, size_b = sizes[a], sizes[b]
        weight = weights[2 * i + 1]
        if (weight <= limits[a]) & (weight <= limits[b]):
            joined = _join(label, segments.after, a, b, size_a, size_b)
            sizes[joined] = size_a + size_b
            limits[joined] = weight + np.float32(k / (size_a + size_b))
        else:
            left[count] = number
            count += min(size_a, size_b) < k
    return count


@compiled()
def _join(label: Array, after: Array, a: Any, b: Any, size_a: int, size_b: int) -> Any:
    """Join two segments under the name of the larger, and return it."""
    small = a if size_a < size_b else b
    large = np.uint32(a ^ b ^ small)
    pixel = small
    while True:
        label[pixel] = large
        pixel = after[pixel]
        if pixel == small:
            break
    after[small], after[large] = after[large], after[small]
    return large


@compiled()
def _join_small(edges: Array, steps: Array, segments: _Segments, min_size: int) -> None:
    """Join segments of fewer pixels than `min_size` along their weakest edges; `edges` are overwritten."""
    label, sizes = segments.label, segments.sizes
    for start in range(0, len(edges), _BLOCK):
        block = edges[start : start + _BLOCK]
        n = 0
        for number in block:
            pixel = np.uint64(number >> np.uint32(2))
            a, b = label[pixel], label[np.uint64(np.int64(pixel) + steps[number & np.uint32(3)])]
            block[n] = number
            n += (a != b) & (min(sizes[a], sizes[b]) < min_size)
        for number in block[:n]:
            pixel = np.uint64(number >> np.uint32(2))
            a, b = label[pixel], label[np.uint64(np.int64(pixel) + steps[number & np.uint32(3)])]
            size_a, size_b = sizes[a], sizes[b]
            if a != b and min(size_a, size_b) < min_size:
                sizes[_join(label, segments.after, a, b, size_a, size_b)] = size_a + size_b


@compiled()
def _number(label: Array, numbers: Array) -> None:
    """Write each pixel's segment, numbered in the order of their first pixels."""
    found = np.full(len(label), -1, np.int32)
    count = 0
    for pixel in range(len(label)):
        segment = label[pixel]
        if found[segment] < 0:
            found[segment] = count
            count += 1
        numbers[pixel] = found[segment]
