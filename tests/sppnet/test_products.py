"""Products of features with all categories' weights: those of a plain matrix product, on every path."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet import products
from sppnet.products import LinearProducts


def linear(k: int, d: int, seed: int = 0) -> LinearProducts:
    rng = np.random.default_rng(seed)
    return LinearProducts(rng.standard_normal((k, d), np.float32), rng.standard_normal(k, np.float32))


def features(n: int, d: int, dtype: torch.dtype, seed: int = 1) -> torch.Tensor:
    values = np.random.default_rng(seed).standard_normal((n, d), np.float32)
    return torch.from_numpy(values).to(dtype)


@settings(max_examples=40)
@given(
    n=st.integers(0, 205), k=st.integers(1, 11), d=st.sampled_from([1, 16, 48, 160, 2048, 2064, 4112]),
    dtype=st.sampled_from([torch.float16, torch.float32, torch.bfloat16]),
)  # fmt: skip
def test_products_are_those_of_float64(n: int, k: int, d: int, dtype: torch.dtype) -> None:
    function, rows = linear(k, d), features(n, d, dtype)
    found = function(rows)
    assert found.dtype == torch.float32
    expected = rows.double().numpy() @ function.weights.T.astype(np.float64) + function.biases
    assert found.shape == expected.shape
    assert np.abs(found.numpy() - expected).max(initial=0) <= 2e-6 * max(1, d) ** 0.5 * 4


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_rows_products_depend_on_no_other_row_and_no_thread(dtype: torch.dtype) -> None:
    function, rows = linear(13, 6400), features(701, 6400, dtype)
    whole = function(rows)
    assert torch.equal(torch.cat([function(rows[start : start + 37]) for start in range(0, 701, 37)]), whole)
    assert torch.equal(function(rows[5:6])[0], whole[5])
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            assert torch.equal(function(rows), whole)
    finally:
        torch.set_num_threads(before)


def test_half_floats_of_every_kind_are_widened_as_they_are() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    rows = torch.from_numpy(bits[np.isfinite(bits)].reshape(-1, 16)[:, :1].repeat(16, axis=1).copy())
    weights = np.zeros((1, 16), np.float32)
    weights[0, 3] = 1.0
    assert torch.equal(LinearProducts(weights, np.zeros(1, np.float32))(rows)[:, 0], rows[:, 3].float())


def test_what_is_no_number_stays_none() -> None:
    rows = torch.zeros(3, 32, dtype=torch.float16)
    rows[1, 5], rows[2, 7] = float("nan"), float("inf")
    found = linear(2, 32)(rows)
    assert torch.isfinite(found[0]).all()
    assert torch.isnan(found[1]).all()
    assert torch.isinf(found[2]).all()


def test_machines_without_the_kernel_give_the_same_up_to_rounding() -> None:
    rows = features(300, 1600, torch.float16)
    found = linear(7, 1600)(rows)
    with patch.object(products, "has_kernel", lambda: False):
        plain = linear(7, 1600)(rows)
    assert np.allclose(found, plain, atol=1e-3)
    assert torch.equal(linear(7, 1600)(rows.T.contiguous().T), found)
