"""Max pooling on a GPU: one Triton kernel.

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
from sppnet.networks.layer_windows import Window
from sppnet.sizes import Size

# A program makes so many cells of a line, of so many channels: 16 bytes a thread of half floats.
_CELLS, _CHANNELS = 8, 128


@triton.jit(do_not_specialize=["rows", "line", "out_rows", "out_line"])
def _pool(
    values, out, extent, out_extent, rows, line, out_rows, out_line, channels,
    kernel: tl.constexpr, stride: tl.constexpr, padding: tl.constexpr, cells: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Make `cells` cells of a line `program_id(0)` of all images, in `block` channels; see `pool_maps`."""
    height, width = tl.load(extent), tl.load(extent + 1)
    number = tl.program_id(0)
    y = number % out_rows
    image = values + (number // out_rows).to(tl.int64) * rows * line * channels
    x = tl.program_id(1) * cells + tl.arange(0, cells)
    c = tl.program_id(2) * block + tl.arange(0, block)
    used = ((y < tl.load(out_extent)) & (x < tl.load(out_extent + 1)))[:, None] & (c < channels)[None, :]
    best = tl.full((cells, block), float("-inf"), tl.float32)
    for dy in tl.static_range(kernel):
        row = y * stride - padding + dy
        for dx in tl.static_range(kernel):
            column = x * stride - padding + dx
            inside = used & (row >= 0) & (row < height) & ((column >= 0) & (column < width))[:, None]
            place = image + ((row * line + column) * channels)[:, None] + c[None, :]
            value = tl.load(place, inside, float("-inf")).to(tl.float32)
            best = tl.maximum(best, value, propagate_nan=tl.PropagateNan.ALL)
    target = out + ((number.to(tl.int64) * out_line + x) * channels)[:, None] + c[None, :]
    tl.store(target, tl.where(used, best, 0.0), (x < out_line)[:, None] & (c < channels)[None, :])


def pool_maps(
    values: torch.Tensor, extent: torch.Tensor, out_extent: torch.Tensor, out_room: Size, window: Window
) -> torch.Tensor:
    """Pool maps; nothing is checked and nothing waits for the device.

    Args:
        values: `[N, C, H, W]` channels last in memory, of any float type.
        extent: int32 `[height, width, ...]` of the maps, cells, within `values`; on the device, as all else.
        out_extent: the same of what is made of them.
        out_room: of the tensor that is returned, as large or larger.
        window: what is pooled, along both axes.

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
        _pool[grid](
            values, out, extent, out_extent, rows, line, *out_room.hw, channels,
            kernel=window.kernel, stride=window.stride, padding=window.padding, cells=_CELLS, block=block,
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
