from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sppnet.proposals import selective_search_numba as kernels


def segment(image: np.ndarray, k: float, min_size: int) -> np.ndarray:
    weights, edges = kernels.sorted_edges(image.astype(np.float32))
    return kernels.segment(weights, edges, *image.shape[:2], float(k), min_size)


def plain_segment(image: np.ndarray, k: float, min_size: int) -> np.ndarray:
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
        if a != b and min(len(segments[a]), len(segments[b])) < min_size:
            join(a, b)
    order = {s: i for i, s in enumerate(dict.fromkeys(home))}
    return np.array([order[s] for s in home]).reshape(height, width)


@settings(max_examples=60)
@given(
    arrays(
        np.uint8,
        st.tuples(st.integers(2, 9), st.integers(2, 9), st.just(3)),
        elements=st.integers(0, 255).map(lambda v: v // 32 * 32),
    ),
    st.sampled_from([1, 64, 256]),
    st.integers(1, 6),
)
def test_segment_is_the_published_algorithm(image: np.ndarray, k: int, min_size: int) -> None:
    assert np.array_equal(segment(image, k, min_size), plain_segment(image.astype(np.float32), k, min_size))


def test_edges_are_all_pairs_of_8_neighbours_once() -> None:
    image = np.random.default_rng(0).random((4, 7, 3), np.float32)
    weights, edges = kernels.sorted_edges(image)
    assert len(edges) == len(set(edges.tolist())) == 4 * 6 + 3 * 7 + 2 * 3 * 6
    assert (np.diff(weights) >= 0).all()
    assert np.isfinite(weights).all()


def test_every_segment_reaches_the_minimum_size() -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 50, 3))
    labels = segment(image, 20, 30)
    assert np.bincount(labels.ravel()).min() >= 30


def test_describe() -> None:
    labels = np.array([[0, 0, 1], [2, 0, 1]], np.int32)
    bins = np.array([[[0, 3], [1, 3], [1, 4]], [[2, 4], [0, 4], [1, 3]]], np.int16)
    sizes, boxes, counts = kernels.describe(labels, bins, 5)
    assert sizes.tolist() == [3, 2, 1]
    assert boxes.tolist() == [[0, 0, 2, 2], [2, 0, 3, 2], [0, 1, 1, 2]]
    assert counts.tolist() == [[2, 1, 0, 2, 1], [0, 2, 0, 1, 1], [0, 0, 1, 0, 1]]


def test_neighbours_touch_at_corners_too() -> None:
    labels = np.array([[0, 0, 1], [2, 2, 3]], np.int32)
    assert kernels.neighbours(labels).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert kernels.neighbours(np.array([[0, 1, 2]], np.int32)).tolist() == [[0, 1], [1, 2]]
    assert kernels.neighbours(np.zeros((3, 3), np.int32)).shape == (0, 2)


def test_group_merges_the_most_similar_first() -> None:
    # A row of four squares of 10 x 10; the histograms of 0 and 1 agree, those of 2 and 3 half.
    boxes = np.array([[x, 0, x + 10, 10] for x in (0, 10, 20, 30)], np.int32)
    histograms = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0.5, 0.5]], np.float32)
    pairs = np.array([[0, 1], [1, 2], [2, 3]])
    merged = kernels.group(np.full(4, 100, np.int32), boxes, histograms, pairs, 400)
    assert merged.tolist() == [[0, 0, 20, 10], [20, 0, 40, 10], [0, 0, 40, 10]]


def test_group_prefers_small_regions_then_tight_boxes() -> None:
    # All histograms are equal. 0 and 1 are small; 2 and 3 large.
    boxes = np.array([[0, 0, 2, 2], [2, 0, 4, 2], [0, 2, 20, 12], [0, 12, 20, 22]], np.int32)
    sizes = (boxes[:, 2:] - boxes[:, :2]).prod(1).astype(np.int32)
    pairs = np.array([[0, 1], [0, 2], [1, 2], [2, 3]])
    merged = kernels.group(sizes, boxes, np.ones((4, 1), np.float32), pairs, 440)
    assert merged[0].tolist() == [0, 0, 4, 2]
    assert merged[-1].tolist() == [0, 0, 20, 22]


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_group_is_the_plain_greedy_rule(seed: int, n: int) -> None:
    """Against a quadratic version that looks for the best pair anew at each step."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 50, (n, 2))
    boxes = np.concatenate([corner, corner + rng.integers(1, 30, (n, 2))], axis=1).astype(np.int32)
    sizes = rng.integers(1, 200, n).astype(np.int32)
    histograms = rng.dirichlet(np.ones(4), n).astype(np.float32)
    links = {(int(rng.integers(0, b)), b) for b in range(1, n)} | {
        tuple(sorted(p)) for p in rng.integers(0, n, (n, 2)).tolist() if p[0] != p[1]
    }
    merged = kernels.group(sizes, boxes, histograms, np.array(sorted(links), np.int64).reshape(-1, 2), 6400)

    regions = {i: (float(sizes[i]), boxes[i].astype(float), histograms[i]) for i in range(n)}
    expected = []
    while links:

        def similarity(pair: tuple[int, int]) -> float:
            (s, b, h), (t, c, g) = regions[pair[0]], regions[pair[1]]
            w, v = np.maximum(b[2:], c[2:]) - np.minimum(b[:2], c[:2])
            return 1 - (s + t) / 6400 + 1 - (w * v - s - t) / 6400 + np.minimum(h, g).sum()

        a, b = max(links, key=similarity)
        (s, box, h), (t, box2, g) = regions.pop(a), regions.pop(b)
        new = n + len(expected)
        joint = np.concatenate([np.minimum(box[:2], box2[:2]), np.maximum(box[2:], box2[2:])])
        regions[new] = (s + t, joint, (s * h + t * g) / (s + t))
        expected.append(joint.tolist())
        links = {tuple(sorted((new if p in (a, b) else p, new if q in (a, b) else q))) for p, q in links - {(a, b)}}
    assert merged.tolist() == expected
    assert len(merged) == n - 1


def test_noise_with_thousands_of_segments_ends_in_one_region() -> None:
    image = np.random.default_rng(2).integers(0, 256, (300, 400, 3))
    labels = segment(image, 5, 5)
    bins = np.zeros((300, 400, 1), np.int16)
    sizes, boxes, counts = kernels.describe(labels, bins, 1)
    assert len(sizes) > 1000
    merged = kernels.group(sizes, boxes, counts / sizes[:, None], kernels.neighbours(labels), 120_000)
    assert len(merged) == len(sizes) - 1
    assert merged[-1].tolist() == pytest.approx([0, 0, 400, 300])
