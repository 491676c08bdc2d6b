"""Paired differences against scipy's paired t test, and intervals by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sppnet.evaluation.paired import PairedDifference, paired_difference


def errors(seed: int, pairs: int, images: int, rate: float = 0.4) -> np.ndarray:
    return np.random.default_rng(seed).random((pairs, images)) < rate


@given(st.integers(0, 1000), st.integers(2, 6), st.integers(20, 60))
def test_the_interval_over_pairs_is_that_of_a_paired_t_test(seed: int, pairs: int, images: int) -> None:
    first, other = errors(seed, pairs, images), errors(seed + 1, pairs, images, 0.5)
    found = paired_difference(first, other)
    assert found.mean == pytest.approx(first.mean() - other.mean())
    assert found.by_pair == pytest.approx(first.mean(axis=1) - other.mean(axis=1))
    if np.ptp(found.by_pair) > 1e-9:  # of equal differences scipy warns
        expected = stats.ttest_rel(first.mean(axis=1), other.mean(axis=1)).confidence_interval(0.95)
        assert found.over_pairs is not None
        bounds = (max(expected.low, -1), min(expected.high, 1))
        assert (found.over_pairs.low, found.over_pairs.high) == pytest.approx(bounds)


def test_the_interval_over_images_is_by_their_discordance() -> None:
    """Of 100 images the first alone errs on 10, the other alone on 20: -0.1 with the variance of the differences."""
    first, other = np.zeros((1, 100), bool), np.zeros((1, 100), bool)
    first[0, :10] = other[0, 10:30] = True
    found = paired_difference(first, other)
    spread = 1.959964 * np.sqrt((30 / 100 - 0.01) * 100 / 99 / 100)
    assert found.mean == pytest.approx(-0.1)
    assert found.over_pairs is None
    assert (found.over_images.low, found.over_images.high) == pytest.approx((-0.1 - spread, -0.1 + spread), abs=1e-6)


def test_the_interval_over_images_holds_the_truth_as_often_as_it_says() -> None:
    """Over 400 draws of 300 images, whose true difference is 0.1."""
    held = 0
    for seed in range(400):
        one = paired_difference(errors(seed, 1, 300, 0.5), errors(10_000 + seed, 1, 300))
        held += one.over_images.low <= 0.1 <= one.over_images.high
    assert 0.92 <= held / 400 <= 0.98


def test_equal_classifiers_do_not_differ() -> None:
    one = errors(0, 3, 50)
    found = paired_difference(one, one)
    assert isinstance(found, PairedDifference)
    assert found.by_pair == (0, 0, 0)
    assert found.over_pairs is not None
    assert (found.over_pairs.low, found.over_pairs.high) == (0, 0)


def test_one_image_tells_nothing_of_others() -> None:
    found = paired_difference([[True]], [[False]])
    assert (found.mean, found.over_images.low, found.over_images.high) == (1, -1, 1)


@pytest.mark.parametrize("shapes", [((2, 3), (3, 3)), ((2, 0), (2, 0)), ((0, 2), (0, 2)), ((3,), (3,))])
def test_what_can_not_be_paired_is_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="pairs of one set of images"):
        paired_difference(np.zeros(shapes[0]), np.zeros(shapes[1]))
