from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet.proposals.segmentation_numba import edge_weights, segment


def plain_segment(image: np.ndarray, k: int) -> np.ndarray:
    """Felzenszwalb and Huttenlocher's algorithm as the paper tells it, with sets of pixels."""
    height, width = image.shape[:2]
    edges = []
    for y in range(height):
        for x in range(width):
            for d, (dy, dx) in enumerate([(0, 1), (1, 0), (1, 1), (-1, 1)]):
                if 0 <= y + dy < height and x + dx < width:
                    weight = np.float32(np.sqrt(((image[y, x] - image[y + dy, x + dx]) ** 2).sum()))
                    edges.append((weight, (y * width + x) * 4 + d, y * width + x, (y + dy) * width + x + dx))
    edges.sort()
    segments = {p: {p} for p in range(height * width)}
    home = list(range(height * width))
    internal = dict.fromkeys(range(height * width), np.float32(0))

    def join(a: int, b: int) -> int:
        for p in segments[b]:
            home[p] = a
        segments[a] |= segments.pop(b)
        return a

    for weight, _, p, q in edges:
        a, b = home[p], home[q]
        limits = [np.float32(internal[s] + np.float32(k / len(segments[s]))) for s in (a, b)]
        if a != b and weight <= min(limits):
            internal[join(a, b)] = weight
    for _, _, p, q in edges:
        a, b = home[p], home[q]
        if a != b and min(len(segments[a]), len(segments[b])) < k:
            join(a, b)
    order = {s: i for i, s in enumerate(dict.fromkeys(home))}
    return np.array([order[s] for s in home]).reshape(height, width)


@settings(max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from([2, 6, 40, 256]),
    st.lists(st.integers(1, 14), min_size=1, max_size=3),
)
def test_segment_is_the_published_algorithm(seed: int, shape: tuple[int, int], values: int, scales: list[int]) -> None:
    """At every scale, whatever the others are: from images of ties everywhere to such without."""
    image = np.random.default_rng(seed).integers(0, values, (*shape, 3)).astype(np.float32)
    labels = segment(image, scales)
    assert labels.dtype == np.int32
    for found, k in zip(labels, scales, strict=True):
        assert np.array_equal(found, plain_segment(image, k))


def test_segment_is_the_published_algorithm_where_buckets_are_full() -> None:
    # Thousands of edges of nearly one weight, so that a bucket is sorted by its digits.
    rng = np.random.default_rng(0)
    image = (100 * rng.integers(0, 2, (36, 41, 3)) + rng.random((36, 41, 3)) / 64).astype(np.float32)
    for labels, k in zip(segment(image, (30, 300)), (30, 300), strict=True):
        assert np.array_equal(labels, plain_segment(image, k))


def test_edges_are_all_pairs_of_8_neighbours_once() -> None:
    image = np.random.default_rng(0).random((4, 7, 3), np.float32)
    weights = edge_weights(image).reshape(4, 7, 4)
    for d, (dy, dx) in enumerate([(0, 1), (1, 0), (1, 1), (-1, 1)]):
        for y in range(4):
            for x in range(7):
                if 0 <= y + dy < 4 and x + dx < 7:
                    assert weights[y, x, d] == pytest.approx(np.linalg.norm(image[y, x] - image[y + dy, x + dx]))
                else:
                    assert weights[y, x, d] == np.inf


def test_every_segment_reaches_the_minimum_size() -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 50, 3)).astype(np.float32)
    (labels,) = segment(image, [30])
    assert np.bincount(labels.ravel()).min() >= 30
