"""Pooling windows on a GPU: one Triton program, a warp, per window and block of channels, of many maps in one launch.

A program reads the window's cells for the 6 x 6 level, keeps the running maxima of the coarser levels in registers
(their bins are unions of 6 x 6 bins) and writes each of the 50 bins once. Twelve loads are under way at a time: two
rows of the six bins beside one another. A bin that is narrower or lower reads its last column or row again, which
changes no maximum and comes from the cache; so does a cell that two bins share.
"""

# Kernels' parameters have no types that Python would know.
# mypy: disallow-untyped-defs=False, disallow-untyped-decorators=False, disallow-untyped-calls=False
# mypy: disallow-incomplete-defs=False
# ruff: noqa: ANN001, ANN202
from __future__ import annotations

import torch
import triton
import triton.language as tl

from sppnet.devices import on_its_device
from sppnet.pooling.pyramid import Pyramid

LEVELS = frozenset({6, 3, 2, 1})
"""The levels that the kernel knows, in any order."""

# Values of a block: 16 bytes a thread where two half floats share a word.
_BLOCK = 128
# How two values are compared: as floats, or as words of two half floats each.
_SINGLE, _BFLOATS, _HALVES = 0, 1, 2
_PAIRS = {torch.bfloat16: _BFLOATS, torch.float16: _HALVES}


@triton.jit
def _larger(a, b, kind: tl.constexpr):
    """Return the larger value, not a number if one is none."""
    if kind == 1:
        return tl.inline_asm_elementwise("max.NaN.bf16x2 $0, $1, $2;", "=r,r,r", [a, b], tl.int32, is_pure=True, pack=1)
    elif kind == 2:  # noqa: RET505  # each branch is compiled by itself
        return tl.inline_asm_elementwise("max.NaN.f16x2 $0, $1, $2;", "=r,r,r", [a, b], tl.int32, is_pure=True, pack=1)
    else:
        return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _lowest(size: tl.constexpr, kind: tl.constexpr):
    """Return minus infinity in each of `size` values."""
    if kind == 1:
        return tl.full((size,), -8323200, tl.int32)  # 0xff80ff80
    elif kind == 2:  # noqa: RET505
        return tl.full((size,), -67044352, tl.int32)  # 0xfc00fc00
    else:
        return tl.full((size,), float("-inf"), tl.float32)


@triton.jit
def _two_rows(best, row, next_row, column, used, kind: tl.constexpr):
    """Return the maxima of a bin with one more column of two rows."""
    a, b = tl.load(row + column, used, 0), tl.load(next_row + column, used, 0)
    if kind == 0:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return _larger(best, _larger(a, b, kind), kind)


@triton.jit
def _row_of_bins(
    corner, line_step, channels, top, bottom, width, used, size: tl.constexpr, kind: tl.constexpr
):  # fmt: skip
    """Return the maxima of the six bins that take the rows `[top, bottom)` of a window."""
    a1, a2, a3, a4, a5 = width // 6, 2 * width // 6, 3 * width // 6, 4 * width // 6, 5 * width // 6
    b0, b1, b2 = (width + 5) // 6, (2 * width + 5) // 6, (3 * width + 5) // 6
    b3, b4 = (4 * width + 5) // 6, (5 * width + 5) // 6
    widest = tl.maximum(tl.maximum(b0, b1 - a1), tl.maximum(b2 - a2, b3 - a3))
    widest = tl.maximum(widest, tl.maximum(b4 - a4, width - a5))
    m0 = _lowest(size, kind)
    m1, m2, m3, m4, m5 = m0, m0, m0, m0, m0
    for y in range(top, bottom, 2):
        row = corner + y * line_step
        after = corner + tl.minimum(y + 1, bottom - 1) * line_step
        for k in range(widest):
            m0 = _two_rows(m0, row, after, tl.minimum(k, b0 - 1) * channels, used, kind)
            m1 = _two_rows(m1, row, after, tl.minimum(a1 + k, b1 - 1) * channels, used, kind)
            m2 = _two_rows(m2, row, after, tl.minimum(a2 + k, b2 - 1) * channels, used, kind)
            m3 = _two_rows(m3, row, after, tl.minimum(a3 + k, b3 - 1) * channels, used, kind)
            m4 = _two_rows(m4, row, after, tl.minimum(a4 + k, b4 - 1) * channels, used, kind)
            m5 = _two_rows(m5, row, after, tl.minimum(a5 + k, width - 1) * channels, used, kind)
    return m0, m1, m2, m3, m4, m5


@triton.jit
def _pool(
    values, first, widths, map_of, cells, out, channels,
    at6: tl.constexpr, at3: tl.constexpr, at2: tl.constexpr, at1: tl.constexpr,
    size: tl.constexpr, kind: tl.constexpr,
):  # fmt: skip
    """Pool window `program_id(0)` in the channels of block `program_id(1)`; see `pool_packed` for what each is."""
    window = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1) * size + tl.arange(0, size)
    used = block < channels
    number = tl.load(map_of + window)
    x0, y0 = tl.load(cells + 4 * window), tl.load(cells + 4 * window + 1)
    width, height = tl.load(cells + 4 * window + 2) - x0, tl.load(cells + 4 * window + 3) - y0
    line = tl.load(widths + number)
    corner = values + (tl.load(first + number) + y0 * line + x0) * channels + block
    target = out + window * (50 * channels) + block
    lowest = _lowest(size, kind)
    c0, c1, c2, d0, d1, upper = lowest, lowest, lowest, lowest, lowest, lowest
    for i in tl.static_range(6):
        m0, m1, m2, m3, m4, m5 = _row_of_bins(
            corner, line * channels, channels, i * height // 6, ((i + 1) * height + 5) // 6, width, used, size, kind
        )
        row = target + (at6 + 6 * i) * channels
        tl.store(row, m0, used)
        tl.store(row + channels, m1, used)
        tl.store(row + 2 * channels, m2, used)
        tl.store(row + 3 * channels, m3, used)
        tl.store(row + 4 * channels, m4, used)
        tl.store(row + 5 * channels, m5, used)
        d0 = _larger(d0, _larger(_larger(m0, m1, kind), m2, kind), kind)
        d1 = _larger(d1, _larger(_larger(m3, m4, kind), m5, kind), kind)
        c0 = _larger(c0, _larger(m0, m1, kind), kind)
        c1 = _larger(c1, _larger(m2, m3, kind), kind)
        c2 = _larger(c2, _larger(m4, m5, kind), kind)
        if i % 2 == 1:
            row = target + (at3 + 3 * (i // 2)) * channels
            tl.store(row, c0, used)
            tl.store(row + channels, c1, used)
            tl.store(row + 2 * channels, c2, used)
            c0, c1, c2 = lowest, lowest, lowest
        if i % 3 == 2:
            row = target + (at2 + 2 * (i // 3)) * channels
            tl.store(row, d0, used)
            tl.store(row + channels, d1, used)
            upper = _larger(upper, _larger(d0, d1, kind), kind)
            d0, d1 = lowest, lowest
    tl.store(target + at1 * channels, upper, used)


def handles(pyramid: Pyramid) -> bool:
    """Tell whether the kernel knows a pyramid's levels."""
    return set(pyramid.levels) == LEVELS


def pool_packed(
    values: torch.Tensor,
    first: torch.Tensor,
    widths: torch.Tensor,
    map_of: torch.Tensor,
    cells: torch.Tensor,
    pyramid: Pyramid,
    out: torch.Tensor,
) -> None:
    """Pool windows of several maps in one launch; nothing is checked and nothing waits for the device.

    Args:
        values: `[cells of all maps, C]` contiguous, float32, float16 or bfloat16: the maps behind one another.
        first: int64 `[maps]`, where each map's cells begin in `values`.
        widths: int32 `[maps]`, cells of each map's lines.
        map_of: int32 `[n]`, the map that each window is of.
        cells: int32 `[n, 4]` contiguous, `[cx0, cy0, cx1, cy1)`, half-open cells of that map, not empty.
        pyramid: whose levels the kernel `handles`.
        out: `[n, 50, C]` contiguous, of the values' type.
    """
    kind = _PAIRS.get(values.dtype, _SINGLE)
    if values.shape[1] % 2 or values.device.type == "cpu":  # on a CPU Triton interprets, but no assembly
        kind = _SINGLE
    if kind != _SINGLE:
        values, out = values.view(torch.int32), out.view(torch.int32)
    channels = values.shape[1]
    if not len(cells) or not channels:
        return
    size = min(_BLOCK, triton.next_power_of_2(channels))
    starts = {n: bins.start for n, bins in pyramid.slices.items()}
    with on_its_device(values):
        _pool[len(cells), triton.cdiv(channels, size)](
            values, first, widths, map_of, cells, out, channels,
            at6=starts[6], at3=starts[3], at2=starts[2], at1=starts[1], size=size, kind=kind, num_warps=1,
        )  # fmt: skip
