"""Products by half floats: those of float64 up to float32's rounding, whatever the weights' sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sppnet.half_products import HalfProducts, takes

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@given(seed=st.integers(0, 1000), size=st.sampled_from([1e-12, 1e-3, 1.0, 1e4, 1e20]))
def test_products_are_those_of_float64(dtype: torch.dtype, seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    weights = (rng.standard_normal((3, 500)) * size).astype(np.float32)
    weights[1] *= 1e-6  # each category has a scale of its own
    biases = (rng.standard_normal(3) * size).astype(np.float32)
    rows = torch.from_numpy(rng.standard_normal((7, 500))).to(dtype)
    found = HalfProducts(weights, biases, dtype, CPU)(rows)
    assert found.dtype == torch.float32
    exact = rows.double().numpy() @ weights.astype(np.float64).T + biases
    terms = np.abs(rows.double().numpy()) @ np.abs(weights.astype(np.float64)).T + np.abs(biases)
    assert (np.abs(found.numpy() - exact) <= 1e-6 * terms).all()


def test_no_weight_at_all() -> None:
    found = HalfProducts(np.zeros((2, 5), np.float32), np.array([1, -2], np.float32), torch.float16, CPU)
    assert found(torch.ones(1, 5, dtype=torch.float16)).tolist() == [[1.0, -2.0]]


def test_pays_on_a_gpu_only() -> None:
    assert not takes(torch.ones(1, 5, dtype=torch.float16))
