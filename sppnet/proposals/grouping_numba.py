"""Hierarchical grouping (Uijlings et al., IJCV 2013), compiled: merge the two most similar neighbours, down to one.

The pairs of neighbours stand at the leaves of a knock-out tree whose root is the most similar one; a pair that changes
plays its way up again. Ties are broken by index, so the boxes are a pure function of the input.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sppnet.arrays import Array
from sppnet.compiling import compiled

_GONE = -np.inf  # similarity of a pair that is no more


def group(sizes: Array, boxes: Array, histograms: Array, pairs: Array, area: int) -> Array:
    """Merge the two most similar neighbours until nothing is left to merge.

    Args:
        sizes: int32 `[n]` of the segments, pixels.
        boxes: int32 `[n, 4]`, likewise.
        histograms: float32 `[n, D]`: each kind of histogram sums to 1, so its intersection lies in 0..1.
        pairs: int64 `[m, 2]` of segments that touch, the first below the second, each once.
        area: of the image, pixels.

    Returns:
        int32 `[n - 1, 4]`: the boxes of the merged regions, in the order of merging.
    """
    n = len(sizes)
    # Room for the merged regions, which are numbered on.
    size, box, histogram = (
        np.concatenate([rows, np.zeros_like(rows)]) for rows in (sizes.astype(np.int64), boxes, histograms)
    )
    if len(pairs) == 0:
        return box[n:n]
    pairs = pairs.copy()
    similar = np.empty(len(pairs))
    _compare(pairs, size, box, histogram, area, similar)
    tree = np.zeros(2 << (len(pairs) - 1).bit_length(), np.int64)
    _build(tree, similar, pairs)
    lists = np.full((3, max(2 * n, 2 * len(pairs))), -1, np.int64)
    _list(pairs, lists)
    merged = _merge_all(pairs, similar, tree, lists, size, box, histogram, area, n)
    return box[n : n + merged]


@compiled(fastmath={"reassoc"})
def _shared(a: Array, b: Array) -> Any:
    """Return the intersection of two histograms.

    Shares are float32 numbers of some 2^-26 and more: in float64 their sums are exact, in any order.
    """
    total = 0.0
    for i in range(len(a)):
        total += np.float64(min(a[i], b[i]))
    return total


@compiled()
def _similarity(a: int, b: int, sizes: Array, boxes: Array, histograms: Array, area: float) -> Any:
    """Return the sum of the similarities: one per histogram (their intersection), size and fill."""
    joint = sizes[a] + sizes[b]
    w = max(boxes[a, 2], boxes[b, 2]) - min(boxes[a, 0], boxes[b, 0])
    h = max(boxes[a, 3], boxes[b, 3]) - min(boxes[a, 1], boxes[b, 1])
    return (1 - joint / area) + (1 - (w * h - joint) / area) + _shared(histograms[a], histograms[b])


@compiled()
def _compare(pairs: Array, sizes: Array, boxes: Array, histograms: Array, area: int, similar: Array) -> None:
    for i in range(len(pairs)):
        similar[i] = _similarity(pairs[i, 0], pairs[i, 1], sizes, boxes, histograms, area)


@compiled()
def _better(i: int, j: int, similar: Array, pairs: Array) -> Any:
    """Return the more similar of two pairs, the one of lower numbers if they are equally so."""
    if similar[i] != similar[j]:
        return i if similar[i] > similar[j] else j
    low_i, low_j = min(pairs[i, 0], pairs[i, 1]), min(pairs[j, 0], pairs[j, 1])
    if low_i != low_j:
        return i if low_i < low_j else j
    return i if max(pairs[i, 0], pairs[i, 1]) <= max(pairs[j, 0], pairs[j, 1]) else j


@compiled()
def _build(tree: Array, similar: Array, pairs: Array) -> None:
    """Play the whole tree: the leaves are its last half, node `i` has the better of nodes `2 i` and `2 i + 1`."""
    leaves = len(tree) // 2
    for i in range(leaves):
        tree[leaves + i] = min(i, len(pairs) - 1)
    for node in range(leaves - 1, 0, -1):
        tree[node] = _better(tree[2 * node], tree[2 * node + 1], similar, pairs)


@compiled()
def _play(pair: int, tree: Array, similar: Array, pairs: Array) -> None:
    """Bring the tree up to date with a pair that has changed."""
    node = (len(tree) // 2 + pair) // 2
    while node > 0:
        tree[node] = _better(tree[2 * node], tree[2 * node + 1], similar, pairs)
        node //= 2


@compiled()
def _list(pairs: Array, lists: Array) -> None:
    """List each region's pairs.

    Args:
        pairs: int64 `[m, 2]`.
        lists: int64 `[3, >= 2 m]` of -1. Gets each region's first and last entry, and what comes after an entry;
            entry `2 * pair + side` stands in the list of the region `pairs[pair, side]`.
    """
    for entry in range(2 * len(pairs)):
        _append(lists, pairs[entry // 2, entry % 2], entry)


@compiled()
def _append(lists: Array, region: int, entry: int) -> None:
    if lists[0, region] < 0:
        lists[0, region] = entry
    else:
        lists[2, lists[1, region]] = entry
    lists[1, region] = entry
    lists[2, entry] = -1


@compiled()
def _merge_all(
    pairs: Array,
    similar: Array,
    tree: Array,
    lists: Array,
    sizes: Array,
    boxes: Array,
    histograms: Array,
    area: int,
    n: int,
) -> Any:
    """Merge pair after pair; return how many regions came to the first `n`."""
    met = np.full(len(sizes), -1, np.int64)
    new = n
    while similar[tree[1]] != _GONE:
        best = tree[1]
        a, b = pairs[best, 0], pairs[best, 1]
        similar[best] = _GONE
        _play(best, tree, similar, pairs)
        _merge(a, b, new, sizes, boxes, histograms)
        lists[2, lists[1, a]] = lists[0, b]
        entry = lists[0, a]
        while entry >= 0:
            pair, side, following = entry // 2, entry % 2, lists[2, entry]
            if similar[pair] != _GONE:
                other = pairs[pair, 1 - side]
                if met[other] == new:  # it touched both
                    similar[pair] = _GONE
                else:
                    met[other] = new
                    similar[pair] = _similarity(other, new, sizes, boxes, histograms, area)
                    pairs[pair, side] = new
                    _append(lists, new, entry)
                _play(pair, tree, similar, pairs)
            entry = following
        new += 1
    return new - n


@compiled()
def _merge(a: int, b: int, new: int, sizes: Array, boxes: Array, histograms: Array) -> None:
    """Make the region `new` of two."""
    sizes[new] = sizes[a] + sizes[b]
    boxes[new, 0], boxes[new, 1] = min(boxes[a, 0], boxes[b, 0]), min(boxes[a, 1], boxes[b, 1])
    boxes[new, 2], boxes[new, 3] = max(boxes[a, 2], boxes[b, 2]), max(boxes[a, 3], boxes[b, 3])
    for i in range(histograms.shape[1]):
        histograms[new, i] = (sizes[a] * histograms[a, i] + sizes[b] * histograms[b, i]) / sizes[new]
