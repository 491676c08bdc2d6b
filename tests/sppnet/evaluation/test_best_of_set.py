"""The cap over a set against sorting everything at once, in any order and cut of the parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sppnet.errors import ConfigError, DataError
from sppnet.evaluation.best_of_set import TopPerSet

CATEGORIES = 3

# Few scores, images and boxes, so that ties are the rule.
rows = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)),
    max_size=60,
)


def fed(found: list[tuple[int, ...]], limit: int, cuts: list[int]) -> TopPerSet:
    top = TopPerSet(limit, CATEGORIES, 2)
    table = np.array(found, dtype=np.int64).reshape(-1, 5)
    for part in np.split(table, sorted(min(cut, len(table)) for cut in cuts)):
        top.add(part[:, 0], part[:, 1], part[:, 2].astype(np.float32) / 4, part[:, 3:].astype(np.float32))
    return top


def result(top: TopPerSet, category: int) -> list[tuple[float, ...]]:
    best = top.result(category)
    return [
        (-score, image, *values) for image, score, values in zip(best.images, best.scores, best.values, strict=True)
    ]


@given(rows, st.integers(1, 12), st.lists(st.integers(0, 60), max_size=8), st.randoms(use_true_random=False))
def test_it_is_sorting_everything(found, limit, cuts, random) -> None:
    brute = {
        c: sorted((-s / 4, image, a, b) for k, image, s, a, b in found if k == c)[:limit] for c in range(CATEGORIES)
    }
    assert {c: result(fed(found, limit, cuts), c) for c in range(CATEGORIES)} == brute
    shuffled = list(found)
    random.shuffle(shuffled)
    assert {c: result(fed(shuffled, limit, cuts[:3]), c) for c in range(CATEGORIES)} == brute


def test_the_cap_of_a_long_stream() -> None:
    rng = np.random.default_rng(0)
    top, limit = TopPerSet(50, 2, 4), 50
    scores = []
    for shard in range(100):
        n = 300
        part = rng.standard_normal(n).astype(np.float32)
        scores.append(part)
        top.add(np.zeros(n, np.int32), np.full(n, shard), part, np.zeros((n, 4), np.float32))
    expected = -np.sort(-np.concatenate(scores))[:limit]
    np.testing.assert_array_equal(top.result(0).scores, expected)
    assert len(top.result(1)) == 0


def test_bad_input() -> None:
    with pytest.raises(ConfigError, match="top-per-set"):
        TopPerSet(0, 1, 4)
    with pytest.raises(DataError, match="nan-scores"):
        TopPerSet(1, 1, 1).add(
            np.array([0]), np.array([0]), np.array([np.nan], np.float32), np.zeros((1, 1), np.float32)
        )
