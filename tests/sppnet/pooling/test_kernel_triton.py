"""The GPU's pooling kernel, interpreted, beside the CPU's; and compiled for a GPU that need not be there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sppnet.pooling.packed_maps import PackedMaps
from sppnet.pooling.pyramid import Pyramid
from tests.support.triton_interpreter import interpreted

SIZES = ((1, 1), (7, 5), (11, 17))


def inputs(channels: int, dtype: torch.dtype) -> tuple[PackedMaps, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(channels)
    maps = [torch.from_numpy(rng.standard_normal((*hw, channels))).to(dtype) for hw in SIZES]
    map_of = np.array([0, 1, 2, 2, 1])
    cells = np.array([[0, 0, 1, 1], [1, 2, 4, 7], [0, 0, 17, 11], [3, 4, 17, 5], [0, 0, 5, 7]], dtype=np.int32)
    return PackedMaps.of(maps), map_of, cells


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("dtype", "channels", "levels"),
    [
        (torch.float32, 5, (6, 3, 2, 1)),
        (torch.float32, 130, (1, 2, 3, 6)),  # two blocks, the second nearly empty
        (torch.bfloat16, 8, (6, 3, 2, 1)),
        (torch.float16, 8, (3, 6, 1, 2)),
    ],
)
def test_equals_the_cpu_kernel(dtype: torch.dtype, channels: int, levels: tuple[int, ...]) -> None:
    packed, map_of, cells = inputs(channels, dtype)
    if channels == 130:
        map_of, cells = map_of[1:3], cells[1:3]
    expected = packed.pool(torch.from_numpy(map_of), torch.from_numpy(cells), Pyramid(levels))
    found = torch.full_like(expected, 7)
    kernel = interpreted("sppnet.pooling.kernel_triton")
    first, widths = packed.table
    kernel.pool_packed(
        packed.values, first, widths, torch.from_numpy(map_of).int(), torch.from_numpy(cells), Pyramid(levels), found
    )
    assert torch.equal(found, expected)


def test_what_is_not_a_number_stays_so() -> None:
    packed, map_of, cells = inputs(4, torch.float32)
    packed.values[1 + 35 + 17 * 4 + 5, 2] = torch.nan  # in map 2, line 4, column 5
    kernel = interpreted("sppnet.pooling.kernel_triton")
    found = torch.empty(2, 50, 4)
    first, widths = packed.table
    kernel.pool_packed(
        packed.values,
        first,
        widths,
        torch.from_numpy(map_of[2:4]).int(),
        torch.from_numpy(cells[2:4]),
        Pyramid(),
        found,
    )
    assert torch.isnan(found[:, 49]).tolist() == [[False, False, True, False]] * 2
    assert not torch.isnan(found[:, :, [0, 1, 3]]).any()


def test_handles_the_papers_levels_in_any_order() -> None:
    kernel = interpreted("sppnet.pooling.kernel_triton")
    assert kernel.handles(Pyramid((1, 2, 3, 6)))
    assert not kernel.handles(Pyramid((4, 3, 2, 1)))
    assert not kernel.handles(Pyramid((6, 3, 2)))


@pytest.mark.parametrize(("kind", "type_name"), [(0, "fp32"), (1, "i32"), (2, "i32")])
def test_compiles_for_a_gpu(kind: int, type_name: str) -> None:
    """Triton's compiler and the GPU's assembler need no GPU; the interpreter takes what they refuse."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from sppnet.pooling.kernel_triton import _pool

    constants = {"at6": 0, "at3": 36, "at2": 45, "at1": 49, "size": 128, "kind": kind}
    signature = {
        "values": f"*{type_name}", "first": "*i64", "widths": "*i32", "map_of": "*i32", "cells": "*i32",
        "out": f"*{type_name}", "channels": "i32", **dict.fromkeys(constants, "constexpr"),
    }  # fmt: skip
    sixteen = {(place,): [["tt.divisibility", 16]] for place in range(7)}
    source = ASTSource(_pool, signature, constexprs=constants, attrs=sixteen)
    code = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 1}).asm["ptx"]
    assert code.count("ld.global.v4") == 6 * 12  # 16 bytes a load and a store
    assert code.count("st.global.v4") == 50
    assert "bar.sync" not in code
