"""The kernels of rows: equal to torch's pooling, and to the norms in double precision."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from sppnet.networks.kernels_numba import max_pool_rows, norm_across, norm_within
from sppnet.networks.norms import WithinChannelNorm

DTYPES = (torch.float32, torch.bfloat16)


def drawn(channels: int, height: int, width: int, dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = 40 * torch.randn(1, channels, height, width, generator=generator)
    return values.relu().to(dtype).contiguous(memory_format=torch.channels_last)


@settings(max_examples=60)
@given(
    dtype=st.sampled_from(DTYPES),
    window=st.sampled_from([(3, 2, 0), (3, 2, 1), (3, 3, 0), (2, 2, 0), (3, 1, 1), (5, 2, 2), (1, 1, 0)]),
    ceil=st.booleans(),
    size=st.tuples(st.integers(5, 13), st.integers(5, 13), st.integers(1, 70)),
    cut=st.integers(0, 4),
)
def test_pooling_is_torchs(
    dtype: torch.dtype, window: tuple[int, int, int], ceil: bool, size: tuple[int, int, int], cut: int
) -> None:
    kernel, stride, padding = window
    values = drawn(size[2], *size[:2], dtype)
    plain = F.max_pool2d(values, kernel, stride, padding, ceil_mode=ceil)
    pieces = [part for part in (values[:, :, :cut], values[:, :, cut:]) if part.shape[2]]
    found = max_pool_rows(pieces, kernel, stride, padding, padding, (plain.shape[2], plain.shape[3]))
    assert torch.equal(found, plain)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pooling_keeps_infinity(dtype: torch.dtype) -> None:
    values = torch.zeros(1, 3, 4, 4, dtype=dtype).contiguous(memory_format=torch.channels_last)
    values[0, 1, 2, 3] = float("inf")
    assert torch.equal(max_pool_rows([values], 2, 2, 0, 0, (2, 2)), F.max_pool2d(values, 2))


@pytest.mark.parametrize("size", [3, 4, 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_norm_across_is_krizhevskys(dtype: torch.dtype, size: int) -> None:
    values = drawn(37, 5, 6, dtype)
    exact = nn.LocalResponseNorm(size, alpha=1e-3, k=2.0)(values.double())
    found = norm_across(values, size, 1e-3 / size, 2.0)
    assert exact.max() < 0.8 * values.max()  # it does something
    # Computed in float32 and rounded once.
    torch.testing.assert_close(found.double(), exact, rtol=torch.finfo(dtype).eps * 4, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_norm_within_is_the_releases(dtype: torch.dtype) -> None:
    values = drawn(20, 9, 7, dtype)
    exact = WithinChannelNorm(3, alpha=1e-2)(values.double())
    whole = norm_within(values, 0, 0, 1, 1e-2 / 9)
    torch.testing.assert_close(whole.double(), exact, rtol=torch.finfo(dtype).eps * 4, atol=0)
    assert torch.equal(norm_within(values[:, :, 2:7], 1, 1, 1, 1e-2 / 9), whole[:, :, 3:6])
