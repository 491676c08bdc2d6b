"""The kernel behind products of features with all categories' weights: tiles, pieces, threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sppnet import products_numba
from sppnet.products_numba import LANES, laid_out, multiply

pytestmark = pytest.mark.skipif(not products_numba.has_kernel(), reason="needs AVX-512")


def test_weights_fill_whole_tiles_with_categories_that_give_nothing() -> None:
    weights, biases = laid_out(np.ones((5, 32), np.float32), np.arange(5, dtype=np.float32))
    assert weights.shape == (8, 32)
    assert biases.tolist() == [0, 1, 2, 3, 4, 0, 0, 0]
    assert multiply(torch.ones(3, 32), weights, biases).tolist() == [[32, 33, 34, 35, 36, 0, 0, 0]] * 3


@pytest.mark.parametrize("n", [1, 5, 6, 7, 95, 96, 97, 193])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_whole_numbers_are_multiplied_exactly_whatever_the_tiles(n: int, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(n)
    rows = rng.integers(-3, 4, (n, 2048 + 3 * LANES)).astype(np.float32)
    weights = rng.integers(-3, 4, (6, rows.shape[1])).astype(np.float32)
    found = multiply(torch.from_numpy(rows).to(dtype), *laid_out(weights, np.zeros(6, np.float32)))
    assert np.array_equal(found[:, :6], rows @ weights.T)


def test_threads_share_rows_without_changing_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.standard_normal((701, 6400), np.float32)).half()
    tiles = laid_out(rng.standard_normal((13, 6400), np.float32), np.zeros(13, np.float32))
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append(multiply(rows, *tiles))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
