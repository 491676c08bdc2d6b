from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet.proposals.grouping_numba import group


def test_group_merges_the_most_similar_first() -> None:
    # A row of four squares of 10 x 10; the histograms of 0 and 1 agree, those of 2 and 3 half.
    boxes = np.array([[x, 0, x + 10, 10] for x in (0, 10, 20, 30)], np.int32)
    histograms = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0.5, 0.5]], np.float32)
    pairs = np.array([[0, 1], [1, 2], [2, 3]])
    merged = group(np.full(4, 100, np.int32), boxes, histograms, pairs, 400)
    assert merged.tolist() == [[0, 0, 20, 10], [20, 0, 40, 10], [0, 0, 40, 10]]


def test_group_prefers_small_regions_then_tight_boxes() -> None:
    # All histograms are equal. 0 and 1 are small; 2 and 3 large.
    boxes = np.array([[0, 0, 2, 2], [2, 0, 4, 2], [0, 2, 20, 12], [0, 12, 20, 22]], np.int32)
    sizes = (boxes[:, 2:] - boxes[:, :2]).prod(1).astype(np.int32)
    pairs = np.array([[0, 1], [0, 2], [1, 2], [2, 3]])
    merged = group(sizes, boxes, np.ones((4, 1), np.float32), pairs, 440)
    assert merged[0].tolist() == [0, 0, 4, 2]
    assert merged[-1].tolist() == [0, 0, 20, 22]


def plain_group(
    sizes: np.ndarray, boxes: np.ndarray, histograms: np.ndarray, pairs: np.ndarray, area: int
) -> list[list[int]]:
    """The published greedy rule, looking for the best pair anew at each step; of equal ones the lowest numbers."""
    n = len(sizes)
    regions = {i: (int(sizes[i]), boxes[i].astype(int), histograms[i]) for i in range(n)}
    links = {(int(a), int(b)) for a, b in pairs}

    def similarity(pair: tuple[int, int]) -> float:
        (s, b, h), (t, c, g) = regions[pair[0]], regions[pair[1]]
        w, v = np.maximum(b[2:], c[2:]) - np.minimum(b[:2], c[:2])
        shared = np.minimum(h, g).sum(dtype=np.float64)
        return float((1 - (s + t) / area) + (1 - (int(w) * int(v) - (s + t)) / area) + shared)

    merged = []
    while links:
        a, b = min(links, key=lambda pair: (-similarity(pair), pair))
        (s, box, h), (t, box2, g) = regions.pop(a), regions.pop(b)
        new = n + len(merged)
        joint = np.concatenate([np.minimum(box[:2], box2[:2]), np.maximum(box[2:], box2[2:])])
        mixed = (s * h.astype(np.float64) + t * g.astype(np.float64)) / (s + t)
        regions[new] = (s + t, joint, mixed.astype(np.float32))
        merged.append(joint.tolist())
        links = {tuple(sorted((new if p in (a, b) else p, new if q in (a, b) else q))) for p, q in links - {(a, b)}}
    return merged


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.booleans(), st.booleans())
def test_group_is_the_plain_greedy_rule(seed: int, n: int, alike: bool, connected: bool) -> None:
    """On graphs of one piece or several, with histograms that differ or that leave ties everywhere."""
    rng = np.random.default_rng(seed)
    side = 4 if alike else 50
    corner = rng.integers(0, side, (n, 2))
    boxes = np.concatenate([corner, corner + rng.integers(1, side, (n, 2))], axis=1).astype(np.int32)
    sizes = rng.integers(1, 3 if alike else 200, n).astype(np.int32)
    histograms = (np.eye(4)[rng.integers(0, 4, n)] if alike else rng.dirichlet(np.ones(4), n)).astype(np.float32)
    links = {tuple(sorted(p)) for p in rng.integers(0, n, (n, 2)).tolist() if p[0] != p[1]}
    if connected:
        links |= {(int(rng.integers(0, b)), b) for b in range(1, n)}
    pairs = np.array(sorted(links), np.int64).reshape(-1, 2)
    merged = group(sizes, boxes, histograms, pairs, 10_000)
    assert merged.tolist() == plain_group(sizes, boxes, histograms, pairs, 10_000)
    if connected:
        assert len(merged) == n - 1
