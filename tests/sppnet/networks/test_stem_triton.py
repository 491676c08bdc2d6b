"""The GPU's first convolution, interpreted, beside torch's; and compiled for a GPU that need not be there."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sppnet.sizes import Size
from tests.support.triton_interpreter import interpreted


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "filters"), [(7, 2, 3, 24), (7, 2, 0, 96), (3, 2, 1, 16), (11, 4, 2, 130)]
)
def test_equals_torch(kernel: int, stride: int, padding: int, filters: int) -> None:
    own = interpreted("sppnet.networks.stem_triton")
    generator = torch.Generator().manual_seed(kernel)
    images = torch.randn(2, 3, 29, 37, generator=generator)
    weight = torch.randn(filters, 3, kernel, kernel, generator=generator)
    bias = torch.randn(filters, generator=generator)
    expected = F.relu(F.conv2d(images, weight, bias, stride, padding))
    filled = torch.cat([images, torch.full((2, 1, 29, 37), 9.0)], dim=1).contiguous(memory_format=torch.channels_last)
    size = Size(expected.shape[3], expected.shape[2])
    found = own.convolve_image(filled, own.lay_out(weight), bias, (stride, stride), (padding, padding), size)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_kernels_that_are_too_wide() -> None:
    own = interpreted("sppnet.networks.stem_triton")
    assert [own.columns_of(width) for width in (3, 7, 16, 17)] == [16, 32, 64, None]
    with pytest.raises(ValueError, match="17 wide"):
        own.lay_out(torch.zeros(8, 3, 17, 17))


@pytest.mark.parametrize(("kernel", "columns"), [(7, 32), (3, 16), (11, 64)])
def test_compiles_for_a_gpu(kernel: int, columns: int) -> None:
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from sppnet.networks.stem_triton import _convolve

    constants = {
        "kernel": kernel, "stride_y": 2, "stride_x": 2, "above": 3, "before": 3, "columns": columns, "cells": 128,
        "block": 128,
    }  # fmt: skip
    numbers = ("rows", "line", "out_rows", "out_line", "filters")
    signature = {
        "images": "*bf16", "weights": "*bf16", "biases": "*bf16", "out": "*bf16",
        **dict.fromkeys(numbers, "i32"), **dict.fromkeys(constants, "constexpr"),
    }  # fmt: skip
    sixteen = {(place,): [["tt.divisibility", 16]] for place in (0, 1, 2, 3, 8)}
    source = ASTSource(_convolve, signature, constexprs=constants, attrs=sixteen)
    code = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
    assert "wgmma" in code  # the tensor cores
