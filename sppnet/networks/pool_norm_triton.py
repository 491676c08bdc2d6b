"""Max pooling and normalisation across channels on a GPU in one pass over the map: one Triton kernel.

A map may lie in a larger one, whose margin at the right and at the bottom holds anything: only the map is read, and
the margin of what is written is zero, as a convolution's padding wants it.
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
from sppnet.networks.layer_windows import PoolNorm
from sppnet.sizes import Size

# A program makes so many cells of a line, of so many channels: 16 bytes a thread of half floats.
_CELLS, _CHANNELS = 8, 128


@triton.jit
def _larger(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _window(
    image, y, x, height, width, line, channels, shift, used,
    kernel: tl.constexpr, stride: tl.constexpr, padding: tl.constexpr,
):  # fmt: skip
    """Return the maxima of windows, `[cells, channels]`, minus infinity where nothing is `used`."""
    best = tl.full(used.shape, float("-inf"), tl.float32)
    for dy in tl.static_range(kernel):
        row = y * stride - padding + dy
        for dx in tl.static_range(kernel):
            column = x * stride - padding + dx
            inside = used & (row >= 0) & (row < height) & ((column >= 0) & (column < width))[:, None]
            place = image + ((row * line + column) * channels)[:, None] + shift[None, :]
            best = _larger(best, tl.load(place, inside, float("-inf")).to(tl.float32))
    return best


@triton.jit
def _normalised(value, total, weight, k):
    root = tl.rsqrt(total * weight + k)
    return value * root * tl.sqrt(root)


@triton.jit(do_not_specialize=["rows", "line", "out_rows", "out_line"])
def _pool_norm(
    values, out, extent, out_extent, rows, line, out_rows, out_line, channels, weight, k,
    kernel: tl.constexpr, stride: tl.constexpr, padding: tl.constexpr, below: tl.constexpr, above: tl.constexpr,
    norm: tl.constexpr, pool_first: tl.constexpr, cells: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Make `cells` cells of a line `program_id(0)` of all images, in `block` channels; see `pool_norm`."""
    height, width = tl.load(extent), tl.load(extent + 1)
    out_height, out_width = tl.load(out_extent), tl.load(out_extent + 1)
    number = tl.program_id(0)
    y = number % out_rows
    image = values + (number // out_rows).to(tl.int64) * rows * line * channels
    x = tl.program_id(1) * cells + tl.arange(0, cells)
    c = tl.program_id(2) * block + tl.arange(0, block)
    used = ((y < out_height) & (x < out_width))[:, None] & (c < channels)[None, :]
    if norm and pool_first:
        found = _window(image, y, x, height, width, line, channels, c, used, kernel, stride, padding)
        total = tl.full(used.shape, 0.0, tl.float32)
        for offset in tl.static_range(-below, above + 1):
            near = used & ((c + offset >= 0) & (c + offset < channels))[None, :]
            beside = _window(image, y, x, height, width, line, channels, c + offset, near, kernel, stride, padding)
            total += tl.where(near, beside * beside, 0.0)
        found = _normalised(found, total, weight, k)
    elif norm:
        found = tl.full(used.shape, float("-inf"), tl.float32)
        for dy in tl.static_range(kernel):
            row = y * stride - padding + dy
            for dx in tl.static_range(kernel):
                column = x * stride - padding + dx
                inside = used & (row >= 0) & (row < height) & ((column >= 0) & (column < width))[:, None]
                place = image + ((row * line + column) * channels)[:, None] + c[None, :]
                total = tl.full(used.shape, 0.0, tl.float32)
                for offset in tl.static_range(-below, above + 1):
                    near = inside & ((c + offset >= 0) & (c + offset < channels))[None, :]
                    beside = tl.load(place + offset, near, 0.0).to(tl.float32)
                    total += beside * beside
                value = _normalised(tl.load(place, inside, float("-inf")).to(tl.float32), total, weight, k)
                found = _larger(found, value)
    else:
        found = _window(image, y, x, height, width, line, channels, c, used, kernel, stride, padding)
    there = (x < out_line)[:, None] & (c < channels)[None, :]
    target = out + ((number.to(tl.int64) * out_line + x) * channels)[:, None] + c[None, :]
    tl.store(target, tl.where(used, found, 0.0), there)


def pool_norm(
    values: torch.Tensor, extent: torch.Tensor, out_extent: torch.Tensor, out_room: Size, what: PoolNorm
) -> torch.Tensor:
    """Pool and normalise maps; nothing is checked and nothing waits for the device.

    Args:
        values: `[N, C, H, W]` channels last in memory, of any float type; computed in float32, rounded once.
        extent: int32 `[height, width, ...]` of the maps, cells, within `values`; on the device, as all else.
        out_extent: the same of what is made of them.
        out_room: of the tensor that is returned, as large or larger.
        what: what is computed.

    Returns:
        `[N, C, *out_room]` of the same type, channels last in memory.
    """
    images, channels, rows, line = values.shape
    out = torch.empty(
        (images, channels, *out_room.hw), dtype=values.dtype, device=values.device, memory_format=torch.channels_last
    )
    block = min(_CHANNELS, triton.next_power_of_2(channels))
    grid = images * out_room.height, triton.cdiv(out_room.width, _CELLS), triton.cdiv(channels, block)
    with on_its_device(values):
        _pool_norm[grid](
            values, out, extent, out_extent, rows, line, *out_room.hw, channels, what.weight, what.k,
            kernel=what.kernel, stride=what.stride, padding=what.padding, below=what.below, above=what.above,
            norm=what.weight != 0, pool_first=what.pool_first, cells=_CELLS, block=block,
        )  # fmt: skip
    return out


@triton.jit(do_not_specialize=["rows", "line"])
def _clear_margin(values, extent, rows, line, channels, cells: tl.constexpr, block: tl.constexpr):
    number = tl.program_id(0)
    x = tl.program_id(1) * cells + tl.arange(0, cells)
    c = tl.program_id(2) * block + tl.arange(0, block)
    outside = (number % rows >= tl.load(extent)) | (x >= tl.load(extent + 1))
    there = (outside & (x < line))[:, None] & (c < channels)[None, :]
    place = values + ((number.to(tl.int64) * line + x) * channels)[:, None] + c[None, :]
    tl.store(place, tl.full(there.shape, 0.0, values.dtype.element_ty), there)


def clear_margin(values: torch.Tensor, extent: torch.Tensor) -> None:
    """Write zeros beyond maps, in place.

    Args:
        values: `[N, C, H, W]` channels last in memory.
        extent: int32 `[height, width, ...]` of the maps, on the device.
    """
    images, channels, rows, line = values.shape
    block = min(_CHANNELS, triton.next_power_of_2(channels))
    with on_its_device(values):
        _clear_margin[images * rows, triton.cdiv(line, _CELLS), triton.cdiv(channels, block)](
            values, extent, rows, line, channels, cells=_CELLS, block=block
        )
