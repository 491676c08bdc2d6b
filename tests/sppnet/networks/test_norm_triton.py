"""The GPU's response normalisation, interpreted, beside torch's; and compiled for a GPU that need not be there."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.support.triton_interpreter import interpreted


@pytest.mark.parametrize(("size", "beta"), [(5, 0.75), (4, 0.5)])
def test_equals_torchs_own(size: int, beta: float) -> None:
    values = torch.randn(2, 6, 3, 5, generator=torch.Generator().manual_seed(0)) * 30
    values = values.contiguous(memory_format=torch.channels_last)
    found = interpreted("sppnet.networks.norm_triton").normalise(values, size, 0.01, beta, 2.0)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, nn.LocalResponseNorm(size, 0.01, beta, 2.0)(values), rtol=2e-6, atol=1e-6)


def test_half_floats_are_rounded_once() -> None:
    values = torch.randn(1, 5, 2, 2, generator=torch.Generator().manual_seed(1)).bfloat16()
    values = values.contiguous(memory_format=torch.channels_last)
    found = interpreted("sppnet.networks.norm_triton").normalise(values, 5, 1.0, 0.75, 1.0)
    exact = nn.LocalResponseNorm(5, 1.0, 0.75, 1.0)(values.float())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, rtol=2**-7, atol=0)  # the interpreter cuts bits off


def test_compiles_for_a_gpu() -> None:
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from sppnet.networks.norm_triton import _normalise

    constants = {"below": 2, "above": 2, "quarters": True, "block": 1024}
    signature = {
        "values": "*bf16", "out": "*bf16", "count": "i32", "channels": "i32", "weight": "fp32", "k": "fp32",
        "beta": "fp32", **dict.fromkeys(constants, "constexpr"),
    }  # fmt: skip
    code = triton.compile(ASTSource(_normalise, signature, constexprs=constants), target=GPUTarget("cuda", 90, 32))
    assert ".target sm_90" in code.asm["ptx"]
