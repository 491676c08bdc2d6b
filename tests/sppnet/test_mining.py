"""Hard negatives: order, limits, and the law that merging does not depend on shards or their order."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sppnet.errors import ConfigError, DataError
from sppnet.mining import HardNegative, evict, hard_negatives, initial_negatives, merge_hard_negatives
from sppnet.seeds import derive_seed


def test_initial_negatives_are_distinct_sorted_and_seeded() -> None:
    rng = np.random.default_rng(derive_seed(1, "mine", "000001"))
    drawn = initial_negatives(100, 10, rng)
    assert len(set(drawn.tolist())) == 10
    assert drawn.tolist() == sorted(drawn.tolist())
    again = initial_negatives(100, 10, np.random.default_rng(derive_seed(1, "mine", "000001")))
    assert drawn.tolist() == again.tolist()
    other = initial_negatives(100, 10, np.random.default_rng(derive_seed(1, "mine", "000002")))
    assert drawn.tolist() != other.tolist()


def test_initial_negatives_of_a_small_image_are_all() -> None:
    rng = np.random.default_rng(0)
    assert initial_negatives(3, 10, rng).tolist() == [0, 1, 2]
    assert initial_negatives(3, None, rng).tolist() == [0, 1, 2]
    assert initial_negatives(0, 10, rng).tolist() == []
    with pytest.raises(ConfigError, match="negative"):
        initial_negatives(3, -1, rng)


def test_hard_negatives_by_category_and_falling_score_with_ties_by_index() -> None:
    scores = np.array([[0.5, -1.0], [2.0, -0.9], [0.5, -3.0], [9.0, -0.9]], np.float32)
    mask = np.array([[1, 1], [1, 1], [1, 1], [0, 1]], bool)
    got = hard_negatives(scores, mask, image="a")
    ninth = float(np.float32(-0.9))
    assert got == [
        HardNegative(0, 1, 2.0, "a"),
        HardNegative(0, 0, 0.5, "a"),
        HardNegative(0, 2, 0.5, "a"),
        HardNegative(1, 1, ninth, "a"),  # -1.0 itself is not above the threshold
        HardNegative(1, 3, ninth, "a"),
    ]
    assert hard_negatives(scores, mask, limit=1, image="a") == [got[0], got[3]]
    assert hard_negatives(scores, mask, threshold=1.0) == [HardNegative(0, 1, 2.0)]
    assert hard_negatives(scores, mask, limit=0) == []


@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(1, 4), st.one_of(st.none(), st.integers(1, 4)))
def test_hard_negatives_are_a_sorted_filter(seed: int, n: int, k: int, limit: int | None) -> None:
    rng = np.random.default_rng(seed)
    scores, mask = rng.integers(-3, 3, (n, k)) / 2, rng.random((n, k)) < 0.7
    expected = []
    for c in range(k):
        rows = [(-scores[i, c], i) for i in range(n) if mask[i, c] and scores[i, c] > -1.0]
        expected += [(c, i, -negated) for negated, i in sorted(rows)[:limit]]
    assert [h[:3] for h in hard_negatives(scores, mask, limit=limit)] == expected


negative = st.builds(
    HardNegative,
    category=st.integers(0, 2),
    window=st.integers(0, 4),
    score=st.sampled_from([-0.5, 0.0, 0.5, 1.0]),
    image=st.sampled_from(["a", "b", "c"]),
)
parts = st.lists(st.lists(negative, max_size=8), max_size=6)


@given(parts, st.one_of(st.none(), st.integers(1, 4)), st.randoms(use_true_random=False), st.integers(0, 6))
def test_merge_law(shards: list[list[HardNegative]], limit: int | None, rng: Any, cut: int) -> None:
    once = merge_hard_negatives(shards, limit)
    shuffled = [random.Random(rng.random()).sample(shard, len(shard)) for shard in shards]
    rng.shuffle(shuffled)
    assert merge_hard_negatives(shuffled, limit) == once
    halves = [merge_hard_negatives(shards[:cut], limit), merge_hard_negatives(shards[cut:], limit)]
    assert merge_hard_negatives(halves, limit) == once
    assert merge_hard_negatives([once, once], limit) == once
    keys = [(h.category, h.image, h.window) for h in once]
    assert len(set(keys)) == len(keys)


def test_merging_shards_is_mining_everything_at_once() -> None:
    rng = np.random.default_rng(4)
    scores, mask = rng.normal(size=(60, 3)), rng.random((60, 3)) < 0.8
    images = [f"{i:03d}" for i in range(6)]
    each = [
        hard_negatives(scores[10 * i : 10 * i + 10], mask[10 * i : 10 * i + 10], limit=5, image=image)
        for i, image in enumerate(images)
    ]
    merged = merge_hard_negatives(each, limit=5)
    whole = hard_negatives(scores, mask, limit=5)
    assert [(h.category, 10 * images.index(h.image) + h.window, h.score) for h in merged] == [h[:3] for h in whole]


def test_evict_leaves_the_margin() -> None:
    assert evict([-1.3, -1.2, -1.0, 2.0]).tolist() == [True, False, False, False]
    assert evict([-1.15, -1.05], threshold=-1.1).tolist() == [True, False]


def test_bad_scores() -> None:
    with pytest.raises(DataError, match="nan-scores"):
        hard_negatives([[np.nan]], [[True]], image="a")
    assert hard_negatives([[np.nan, 1.0]], [[False, True]]) == [HardNegative(1, 0, 1.0)]
    with pytest.raises(DataError, match="bad-scores"):
        hard_negatives([[1.0]], [[True, False]])
