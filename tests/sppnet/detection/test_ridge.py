"""Ridge regression: the closed form both ways, over blocks, and the memory it takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet.detection.ridge import ridge_bytes, solve_ridge
from tests.support.textbook_ridge import textbook


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 30), st.sampled_from([0.1, 10.0, 1000.0]), st.integers(0, 999))
def test_primal_equals_dual_equals_the_textbook(n: int, d: int, ridge: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, d)), rng.standard_normal((n, 3))
    expected = textbook(3.0 * x, y, ridge)
    expected[:-1] *= 3.0
    for dual in (False, True, None):
        assert np.allclose(solve_ridge(x, y, ridge, 3.0, dual=dual), expected, rtol=1e-8, atol=1e-10)


def test_primal_equals_dual_over_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sppnet.detection.ridge._BLOCK", 64)
    rng = np.random.default_rng(0)
    wide = rng.random((20, 200)).astype(np.float16)
    tall = rng.random((150, 30)).astype(np.float32)
    for x in (tall, wide):
        y = rng.standard_normal((len(x), 4))
        primal, dual = (solve_ridge(x, y, 50.0, dual=form) for form in (False, True))
        assert np.allclose(primal, dual, atol=1e-9)
        # The normal equations, without either Gram matrix.
        augmented = np.concatenate([x.astype(np.float64), np.ones((len(x), 1))], axis=1)
        assert np.allclose(augmented.T @ (y - augmented @ dual), 50.0 * dual, atol=1e-8)


def test_stated_memory_is_that_of_the_smaller_form() -> None:
    assert 8 * 12_801**2 < ridge_bytes(50_000, 12_800) == ridge_bytes(10**6, 12_800) < 1.8e9
    assert 8 * 2000**2 < ridge_bytes(2000, 12_800) < 0.3e9
