"""The GPU's max pooling, interpreted, beside torch's; and compiled for a GPU that need not be there."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sppnet.networks.device_layers import DevicePooling, Extent, Padded
from sppnet.networks.layer_windows import Window, axis_window
from sppnet.sizes import Size
from tests.support.triton_interpreter import interpreted


def table(size: Size) -> torch.Tensor:
    return torch.tensor(size.hw, dtype=torch.int32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_clears_a_margin_alone(dtype: torch.dtype) -> None:
    kernel = interpreted("sppnet.networks.pooling_triton")
    values = torch.rand(2, 6, 7, 19).to(dtype).contiguous(memory_format=torch.channels_last)
    expected = values.clone()
    expected[:, :, 5:] = expected[:, :, :, 17:] = 0.0
    kernel.clear_margin(values, table(Size(17, 5)))
    assert torch.equal(values, expected)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "module", [nn.MaxPool2d(3, 2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(3, 2, padding=1), nn.MaxPool2d(2)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_torch_in_a_margin_of_anything(module: nn.MaxPool2d, dtype: torch.dtype) -> None:
    kernel = interpreted("sppnet.networks.pooling_triton")
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(2, 6, 12, 19, generator=generator).to(dtype).contiguous(memory_format=torch.channels_last)
    values[:, :, 9:] = values[:, :, :, 16:] = 50.0
    layer, size = DevicePooling(module), Size(16, 9)
    expected = layer([Padded(values, Extent(size, None), clean=False)], Extent(layer.outputs(size), None), margins=True)
    assert torch.equal(expected.alone(), module(values[:, :, :9, :16]))
    found = kernel.pool_maps(values, table(size), table(expected.size), expected.room, axis_window(module, 0))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, expected.values)
    assert not found[:, :, :, expected.size.width :].any()


def test_what_is_not_a_number_stays_so() -> None:
    kernel = interpreted("sppnet.networks.pooling_triton")
    values = torch.rand(1, 4, 5, 5).contiguous(memory_format=torch.channels_last)
    values[0, 1, 2, 2] = torch.nan
    found = kernel.pool_maps(values, table(Size(5, 5)), table(Size(2, 2)), Size(2, 2), Window(3, 2))
    assert torch.isnan(found[0, 1]).all()
    assert not torch.isnan(found[0, [0, 2, 3]]).any()


def test_compiles_for_a_gpu() -> None:
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from sppnet.networks.pooling_triton import _pool

    constants = {"kernel": 3, "stride": 2, "padding": 0, "cells": 8, "block": 128}
    numbers = ("rows", "line", "out_rows", "out_line", "channels")
    signature = {
        "values": "*bf16", "out": "*bf16", "extent": "*i32", "out_extent": "*i32",
        **dict.fromkeys(numbers, "i32"), **dict.fromkeys(constants, "constexpr"),
    }  # fmt: skip
    sixteen = {(place,): [["tt.divisibility", 16]] for place in (0, 1, 8)}
    source = ASTSource(_pool, signature, constexprs=constants, attrs=sixteen)
    code = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
    assert ".target sm_90" in code
    assert code.count("ld.global.v4") == 9  # 16 bytes a load and a store
    assert code.count("st.global.v4") == 1
