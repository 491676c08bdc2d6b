"""The GPU's pooling and normalisation, interpreted, beside torch's; and compiled for a GPU that need not be there."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sppnet.networks.device_layers import DevicePoolNorm, Extent, Padded
from sppnet.networks.norms import ResponseNorm
from sppnet.sizes import Size
from tests.support.triton_interpreter import interpreted


def modules(kind: str, channels: int) -> list[nn.Module]:
    pool, norm = nn.MaxPool2d(3, 2), ResponseNorm(channels)
    norm.alpha = 0.3  # seen in the values
    return {
        "pool": [pool],
        "ceiled": [nn.MaxPool2d(3, 2, ceil_mode=True)],
        "padded": [nn.MaxPool2d(3, 2, padding=1)],
        "norm": [norm],
        "norm-pool": [norm, pool],
        "pool-norm": [nn.MaxPool2d(3, 3), norm],
    }[kind]


def table(size: Size) -> torch.Tensor:
    return torch.tensor(size.hw, dtype=torch.int32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_clears_a_margin_alone(dtype: torch.dtype) -> None:
    kernel = interpreted("sppnet.networks.pool_norm_triton")
    values = torch.rand(2, 6, 7, 19).to(dtype).contiguous(memory_format=torch.channels_last)
    expected = values.clone()
    expected[:, :, 5:] = expected[:, :, :, 17:] = 0.0
    kernel.clear_margin(values, table(Size(17, 5)))
    assert torch.equal(values, expected)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", ["pool", "ceiled", "padded", "norm", "norm-pool", "pool-norm"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_torch_in_a_margin_of_anything(kind: str, dtype: torch.dtype) -> None:
    kernel = interpreted("sppnet.networks.pool_norm_triton")
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(2, 6, 12, 19, generator=generator).to(dtype).contiguous(memory_format=torch.channels_last)
    values[:, :, 9:] = values[:, :, :, 16:] = 50.0
    layer = DevicePoolNorm(*modules(kind, 6))  # type: ignore[arg-type]
    size = Size(16, 9)
    expected = layer([Padded(values, Extent(size, None), clean=False)], Extent(layer.outputs(size), None), margins=True)
    found = kernel.pool_norm(values, table(size), table(expected.size), expected.room, layer.what)
    assert found.is_contiguous(memory_format=torch.channels_last)
    tolerance = 1e-6 if dtype == torch.float32 else 0.02
    torch.testing.assert_close(found.float(), expected.values.float(), rtol=tolerance, atol=tolerance)
    margin = F.pad(torch.ones(expected.size.hw), (0, found.shape[3] - expected.size.width)) == 0
    assert not found[:, :, : expected.size.height][:, :, margin].any()


def test_what_is_not_a_number_stays_so() -> None:
    kernel = interpreted("sppnet.networks.pool_norm_triton")
    values = torch.rand(1, 4, 5, 5).contiguous(memory_format=torch.channels_last)
    values[0, 1, 2, 2] = torch.nan
    layer = DevicePoolNorm(nn.MaxPool2d(3, 2))
    found = kernel.pool_norm(values, table(Size(5, 5)), table(Size(2, 2)), Size(2, 2), layer.what)
    assert torch.isnan(found[0, 1]).all()
    assert not torch.isnan(found[0, [0, 2, 3]]).any()


@pytest.mark.parametrize(("norm", "pool_first"), [(0, 0), (1, 0), (1, 1)])
def test_compiles_for_a_gpu(norm: int, pool_first: int) -> None:
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from sppnet.networks.pool_norm_triton import _pool_norm

    constants = {
        "kernel": 3, "stride": 2, "padding": 0, "below": 2, "above": 2, "norm": bool(norm),
        "pool_first": bool(pool_first), "cells": 8, "block": 128,
    }  # fmt: skip
    numbers = ("rows", "line", "out_rows", "out_line", "channels")
    signature = {
        "values": "*bf16", "out": "*bf16", "extent": "*i32", "out_extent": "*i32",
        **dict.fromkeys(numbers, "i32"), "weight": "fp32", "k": "fp32",
        **dict.fromkeys(constants, "constexpr"),
    }  # fmt: skip
    sixteen = {(place,): [["tt.divisibility", 16]] for place in (0, 1, 8)}
    source = ASTSource(_pool_norm, signature, constexprs=constants, attrs=sixteen)
    code = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
    assert ".target sm_90" in code
    assert "st.global.v4" in code  # 16 bytes a store
