from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet.errors import ConfigError
from sppnet.evaluation.recall import COUNTS, IOUS, RecallSums, best_overlaps


def plain_iou(a: np.ndarray, b: np.ndarray) -> float:
    """IoU of two boxes of whole pixels, by counting pixels."""
    grid = np.zeros((2, 24, 24), bool)
    for layer, box in zip(grid, (a, b), strict=True):
        layer[box[1] : box[3], box[0] : box[2]] = True
    union = np.count_nonzero(grid.any(0))
    return np.count_nonzero(grid.all(0)) / union if union else 0.0


def boxes(rng: np.random.Generator, n: int) -> np.ndarray:
    low = rng.integers(0, 16, (n, 2))
    return np.concatenate([low, low + rng.integers(1, 9, (n, 2))], axis=1)


def test_the_thresholds_are_those_of_the_field() -> None:
    assert IOUS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
    assert COUNTS == (10, 20, 50, 100, 200, 500, 1000, 2000)


@given(st.integers(0, 100_000), st.integers(0, 6), st.integers(0, 12))
@settings(max_examples=60)
def test_recall_is_that_of_counting(seed: int, n_objects: int, n_windows: int) -> None:
    rng = np.random.default_rng(seed)
    objects, windows = boxes(rng, n_objects), boxes(rng, n_windows)
    counts = (1, 3, 8, None)
    overlaps = best_overlaps(objects, windows, counts)
    sums = RecallSums.of(overlaps, IOUS)
    assert sums.objects == n_objects
    for i, count in enumerate(counts):
        best = [max([plain_iou(thing, window) for window in windows[:count]], default=0.0) for thing in objects]
        assert overlaps[:, i] == pytest.approx(best, abs=1e-12)
        for j, threshold in enumerate(IOUS):
            assert sums.hits[i, j] == sum(value >= threshold for value in best)
        if n_objects:
            area = np.mean([2 * max(value - 0.5, 0) for value in best])
            assert sums.average_recall()[i] == pytest.approx(area, abs=1e-12)
            assert sums.recall()[i, 0] == np.mean([value >= 0.5 for value in best])
    assert np.isnan(sums.recall()).all() == (n_objects == 0)


@given(st.integers(0, 100_000), st.integers(1, 5))
@settings(max_examples=30)
def test_sums_of_parts_are_those_of_the_whole(seed: int, pieces: int) -> None:
    rng = np.random.default_rng(seed)
    overlaps = rng.random((20, 3))
    parts = [RecallSums.of(part, IOUS) for part in np.array_split(overlaps, pieces)]
    added, whole = RecallSums.added(parts), RecallSums.of(overlaps, IOUS)
    assert added.objects == whole.objects == 20
    assert np.array_equal(added.hits, whole.hits)
    assert added.excess == pytest.approx(whole.excess, abs=1e-12)


def test_an_exact_window_is_found_at_1() -> None:
    sums = RecallSums.of(best_overlaps([[2, 3, 9, 12]], [[2, 3, 9, 12]], (1,)), IOUS)
    assert sums.recall().tolist() == [[1.0] * len(IOUS)]
    assert sums.average_recall().tolist() == [1.0]


def test_nothing_cannot_be_added() -> None:
    with pytest.raises(ConfigError, match="nothing to add"):
        RecallSums.added([])
