"""A network's first convolution on a GPU, with its ReLU: one Triton kernel.

Libraries multiply 16 bytes of channels at a time, and an image has three channels: they compute mostly zeros. Here a
pixel has four, and a kernel's whole row of pixels, which lie beside one another in memory, is multiplied at once.
"""

# Kernels' parameters have no types that Python would know.
# mypy: disallow-untyped-defs=False, disallow-untyped-decorators=False, disallow-untyped-calls=False
# mypy: disallow-incomplete-defs=False
# ruff: noqa: ANN001, ANN202
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch.nn import functional as F

from sppnet.devices import on_its_device
from sppnet.sizes import Size

CHANNELS = 4
"""Of the images, the last being ignored."""
_CELLS = 128
_MOST_COLUMNS = 64  # values of a kernel's row: what a multiprocessor's registers hold beside the sums


@triton.jit(do_not_specialize=["rows", "line", "out_rows", "out_line"])
def _convolve(
    images, weights, biases, out, rows, line, out_rows, out_line, filters,
    kernel: tl.constexpr, stride_y: tl.constexpr, stride_x: tl.constexpr, above: tl.constexpr, before: tl.constexpr,
    columns: tl.constexpr, cells: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Make `cells` cells of a line `program_id(0)` of all images, in `block` filters; see `convolve_image`."""
    number = tl.program_id(0)
    y = number % out_rows
    image = images + (number // out_rows).to(tl.int64) * rows * line * 4
    x = tl.program_id(1) * cells + tl.arange(0, cells)
    f = tl.program_id(2) * block + tl.arange(0, block)
    part = tl.arange(0, columns)
    column = (x * stride_x - before)[:, None] + (part // 4)[None, :]
    across = (column >= 0) & (column < line)
    place = (x * stride_x - before)[:, None] * 4 + part[None, :]
    total = tl.full((cells, block), 0.0, tl.float32)
    for dy in tl.static_range(kernel):
        row = y * stride_y - above + dy
        inside = across & ((row >= 0) & (row < rows))
        pixels = tl.load(image + row * line * 4 + place, inside, 0.0)
        weight = tl.load(weights + (dy * columns + part)[:, None] * filters + f[None, :], (f < filters)[None, :], 0.0)
        total = tl.dot(pixels, weight, total)
    total += tl.load(biases + f, f < filters, 0.0).to(tl.float32)[None, :]
    found = tl.maximum(total, 0.0, propagate_nan=tl.PropagateNan.ALL)
    target = out + ((number.to(tl.int64) * out_line + x) * filters)[:, None] + f[None, :]
    tl.store(target, found, (x < out_line)[:, None] & (f < filters)[None, :])


def columns_of(kernel_width: int) -> int | None:
    """Return how many values a kernel's row is multiplied with, None for one that is too wide."""
    columns = max(16, triton.next_power_of_2(CHANNELS * kernel_width))
    return columns if columns <= _MOST_COLUMNS else None


def lay_out(weight: torch.Tensor) -> torch.Tensor:
    """Return weights `[O, 3, k, k']` as `convolve_image` takes them: `[k, columns, O]` contiguous."""
    filters, channels, height, width = weight.shape
    columns = columns_of(width)
    if columns is None:
        raise ValueError(f"a kernel {width} wide")
    padded = F.pad(weight.permute(2, 3, 1, 0), (0, 0, 0, CHANNELS - channels))
    return F.pad(padded.reshape(height, width * CHANNELS, filters), (0, 0, 0, columns - CHANNELS * width)).contiguous()


def convolve_image(
    images: torch.Tensor,
    weights: torch.Tensor,
    biases: torch.Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    out_size: Size,
) -> torch.Tensor:
    """Convolve images and apply ReLU; nothing is checked and nothing waits for the device.

    Args:
        images: `[N, 4, H, W]` channels last in memory, of a half type.
        weights: `[k, columns, O]` of the same type, by `lay_out`.
        biases: `[O]`.
        stride: down and across.
        padding: zeros above and before the image.
        out_size: cells.

    Returns:
        `[N, O, *out_size]` of the images' type, channels last in memory.
    """
    count, _, rows, line = images.shape
    kernel, columns, filters = weights.shape
    out = torch.empty(
        (count, filters, *out_size.hw), dtype=images.dtype, device=images.device, memory_format=torch.channels_last
    )
    block = min(128, max(16, triton.next_power_of_2(filters)))
    grid = count * out_size.height, triton.cdiv(out_size.width, _CELLS), triton.cdiv(filters, block)
    with on_its_device(images):
        _convolve[grid](
            images, weights, biases, out, rows, line, *out_size.hw, filters,
            kernel=kernel, stride_y=stride[0], stride_x=stride[1], above=padding[0], before=padding[1],
            columns=columns, cells=_CELLS, block=block,
        )  # fmt: skip
    return out
