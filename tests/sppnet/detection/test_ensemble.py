"""One image's detections from several detectors, against suppression written out over the whole union."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet.boxes import iou_matrix
from sppnet.detection.ensemble import ScoredWindows, choose_windows
from sppnet.errors import DataError


def scored(seed: int, n: int, categories: int = 3) -> ScoredWindows:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 40, (n, 2))
    windows = np.concatenate([corner, corner + rng.integers(5, 30, (n, 2))], axis=1).astype(np.float32)
    scores = (rng.integers(-8, 8, (n, categories)) / 4).astype(np.float32)  # with ties
    return ScoredWindows(windows, scores)


def brute(found: list[ScoredWindows], threshold: float, iou: float, per_image: int) -> list[tuple[int, int, int]]:
    chosen = []
    for category in range(found[0].scores.shape[1]):
        left = sorted(
            (-entry.scores[w, category], d, w)
            for d, entry in enumerate(found)
            for w in range(len(entry.windows))
            if entry.scores[w, category] > threshold
        )
        kept: list[tuple[int, int]] = []
        for _, d, w in left:
            mine = found[d].windows[w][None]
            if all(iou_matrix(found[a].windows[b][None], mine)[0, 0] <= iou for a, b in kept):
                kept.append((d, w))
        chosen += [(category, d, w) for d, w in kept[:per_image]]
    return chosen


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 25)), min_size=1, max_size=3),
    st.sampled_from([-1.5, -5.0, 0.5]),
    st.sampled_from([0.05, 0.3, 1.0]),
    st.sampled_from([1, 2, 100]),
)
def test_union_then_suppression(members, threshold, iou, per_image) -> None:
    found = [scored(seed, n) for seed, n in members]
    chosen = choose_windows(found, threshold, iou, per_image)
    rows = list(zip(chosen.category.tolist(), chosen.detector.tolist(), chosen.window.tolist(), strict=True))
    assert rows == brute(found, threshold, iou, per_image)
    expected = [found[d].scores[w, k] for k, d, w in rows]
    assert chosen.scores.tolist() == expected


def test_a_window_that_its_own_detector_hid_comes_back() -> None:
    """Why the members' own detections can't be united: `a` hides `b`, `c` of the other detector removes `a`."""
    a, b, c = [0, 0, 10, 10], [4, 0, 14, 10], [-4, 0, 6, 10]
    one = ScoredWindows(np.array([a, b], np.float32), np.array([[1.0], [0.5]], np.float32))
    two = ScoredWindows(np.array([c], np.float32), np.array([[2.0]], np.float32))
    alone = choose_windows([one], -1.5, 0.3, 100)
    assert alone.window.tolist() == [0]
    both = choose_windows([one, two], -1.5, 0.3, 100)
    assert list(zip(both.detector.tolist(), both.window.tolist(), strict=True)) == [(1, 0), (0, 1)]


def test_bad_input_and_nothing() -> None:
    with pytest.raises(DataError, match="nan-features"):
        ScoredWindows(np.zeros((1, 4), np.float32), np.array([[np.nan]], np.float32))
    with pytest.raises(DataError, match="bad-scores"):
        ScoredWindows(np.zeros((2, 4), np.float32), np.zeros((1, 3), np.float32))
    with pytest.raises(DataError, match="different numbers of categories: \\[2, 3\\]"):
        choose_windows([scored(0, 4), scored(1, 4, 2)], -1.5, 0.3, 100)
    assert len(choose_windows([scored(0, 0)], -1.5, 0.3, 100)) == 0


def test_what_is_compared_may_be_other_than_the_scores() -> None:
    """The threshold is one on a detector's own scores; rank, suppression and result follow what is compared."""
    one, other = scored(1, 20), scored(2, 15)
    above = [(entry.scores > -0.6).sum() for entry in (one, other)]
    raised = ScoredWindows(other.windows, other.scores, (other.scores + 10).astype(np.float32))
    found = choose_windows([one, raised], -0.6, 1.0, 100)
    assert np.bincount(found.detector).tolist() == [int(count) for count in above]
    expected = choose_windows([one, ScoredWindows(other.windows, raised.ranks)], -0.6, 0.3, 100)
    chosen = choose_windows(
        [one, ScoredWindows(other.windows, other.scores + np.float32(10), raised.ranks)], -0.6, 0.3, 100
    )
    assert chosen.scores.tolist() == expected.scores.tolist()
    for category in range(3):  # all of the raised ones rank first
        assert (np.diff(found.detector[found.category == category]) <= 0).all()
