"""Max pooling and response normalisation of rows of an activation, channels last, on a CPU.

Torch's own take a quarter of SqueezeNet's time and half of ZF-5's in bfloat16. Pooling here is of what follows a ReLU:
non-negative values order like their bit patterns, in any float type, so it is a maximum of integers. Norms compute in
float32; a bfloat16 is the upper half of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sppnet.compiling import compiled

_INTEGERS = {2: torch.int16, 4: torch.int32}
_UNSIGNED = {2: np.uint16, 4: np.uint32}


def max_pool_rows(
    pieces: Sequence[torch.Tensor], kernel: int, stride: int, top: int, left: int, size: tuple[int, int]
) -> torch.Tensor:
    """Pool consecutive rows of a map without any sign bit; what lies beyond them counts as zero.

    Args:
        pieces: one or more `[1, C, h, w]` of rows that follow each other, float32 or bfloat16, channels last.
        kernel: side of a window.
        stride: of the windows.
        top: rows of the first window that lie above the pieces.
        left: columns of the first window that lie left of them.
        size: height and width of the output.

    Returns:
        `[1, C, *size]` of the same type, channels last.
    """
    first = torch.cat(list(pieces[:-1]), dim=2) if len(pieces) > 1 else pieces[-1][:, :, :0]
    out = _empty(pieces[-1], *size)
    _max_pool(_bits(first), _bits(pieces[-1]), _bits(out), kernel, stride, top, left)
    return out


def norm_across(values: torch.Tensor, size: int, scale: float, k: float) -> torch.Tensor:
    """Return `values * (k + scale * sum of squares of the `size` nearest channels) ** -0.75` of `[1, C, h, w]`."""
    out = _empty(values, *values.shape[2:])
    _norm_across(_unsigned(values), _unsigned(out), size, np.float32(scale), np.float32(k))
    return out


def norm_within(values: torch.Tensor, top: int, bottom: int, reach: int, scale: float) -> torch.Tensor:
    """Return `x * (1 + scale * sum of squares of a channel's neighbours) ** -0.75`.

    Args:
        values: `[1, C, h, w]`, float32 or bfloat16, channels last.
        top: rows above the first that is normalised.
        bottom: rows below the last that is normalised.
        reach: how far neighbours are, in cells, in each direction; beyond `values` they count as zeros.
        scale: weight of the sum.

    Returns:
        `[1, C, h - top - bottom, w]`.
    """
    out = _empty(values, values.shape[2] - top - bottom, values.shape[3])
    _norm_within(_unsigned(values), _unsigned(out), top, reach, np.float32(scale))
    return out


def _empty(like: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return torch.empty((1, height, width, like.shape[1]), dtype=like.dtype).permute(0, 3, 1, 2)


def _bits(rows: torch.Tensor) -> Any:
    """Return the memory of `[1, C, h, w]` as integers `[h, w, C]`."""
    return rows.detach()[0].permute(1, 2, 0).view(_INTEGERS[rows.element_size()]).numpy()


def _unsigned(rows: torch.Tensor) -> Any:
    return _bits(rows).view(_UNSIGNED[rows.element_size()])


@compiled()
def _max_pool(first: Any, rest: Any, out: Any, kernel: int, stride: int, top: int, left: int) -> None:
    """Write the maxima of `[h, w, C]` integers, of which `first` holds the first rows, to `out` `[oh, ow, C]`."""
    head = first.shape[0]
    height, width = head + rest.shape[0], rest.shape[1]
    for y in range(out.shape[0]):
        y0 = max(y * stride - top, 0)
        y1 = min(y * stride - top + kernel, height)
        for x in range(out.shape[1]):
            x0 = max(x * stride - left, 0)
            x1 = min(x * stride - left + kernel, width)
            for c in range(out.shape[2]):
                out[y, x, c] = 0
            for row in range(y0, y1):
                for column in range(x0, x1, 3):  # windows of three cells a side are the usual ones
                    middle, last = min(column + 1, x1 - 1), min(column + 2, x1 - 1)
                    if row < head:
                        _raise(out, y, x, first, row, column, middle, last)
                    else:
                        _raise(out, y, x, rest, row - head, column, middle, last)


@compiled()
def _raise(out: Any, y: int, x: int, cells: Any, row: int, left: int, middle: int, right: int) -> None:
    """Raise a cell's channels to the maxima of three others'; written so that LLVM makes vectors of it."""
    for c in range(out.shape[2]):
        one = cells[row, left, c] if cells[row, left, c] > cells[row, middle, c] else cells[row, middle, c]
        two = cells[row, right, c] if cells[row, right, c] > out[y, x, c] else out[y, x, c]
        out[y, x, c] = one if one > two else two


@compiled()
def _norm_across(cells: Any, out: Any, size: int, scale: Any, k: Any) -> None:
    height, width, channels = cells.shape
    bits = np.empty(channels, np.uint32)
    values = bits.view(np.float32)
    squares = np.zeros(channels + size, np.float32)
    total = np.empty(channels, np.float32)
    front = size // 2  # as torch pads
    for y in range(height):
        for x in range(width):
            _widen(cells, y, x, bits)
            for c in range(channels):
                squares[front + c] = values[c] * values[c]
                total[c] = np.float32(0)
            for offset in range(size):
                for c in range(channels):
                    total[c] += squares[offset + c]
            _divide(bits, values, total, scale, k, out, y, x)


@compiled()
def _norm_within(cells: Any, out: Any, top: int, reach: int, scale: Any) -> None:
    height, width, channels = cells.shape
    bits = np.empty(channels, np.uint32)
    values = bits.view(np.float32)
    total = np.empty(channels, np.float32)
    for y in range(out.shape[0]):
        for x in range(width):
            for c in range(channels):
                total[c] = np.float32(0)
            for row in range(max(y + top - reach, 0), min(y + top + reach + 1, height)):
                for column in range(max(x - reach, 0), min(x + reach + 1, width)):
                    _widen(cells, row, column, bits)
                    for c in range(channels):
                        total[c] += values[c] * values[c]
            _widen(cells, y + top, x, bits)
            _divide(bits, values, total, scale, np.float32(1), out, y, x)


@compiled()
def _widen(cells: Any, y: int, x: int, bits: Any) -> None:
    """Write the float32 bit patterns of a cell's values, bfloat16 or float32."""
    shift = np.uint32(32 - 8 * cells.itemsize)
    for c in range(bits.shape[0]):
        bits[c] = np.uint32(cells[y, x, c]) << shift


@compiled()
def _divide(bits: Any, values: Any, total: Any, scale: Any, k: Any, out: Any, y: int, x: int) -> None:
    """Write `values * (k + scale * total) ** -0.75`, rounded to even; `bits` are those of `values`."""
    for c in range(values.shape[0]):
        root = np.sqrt(k + scale * total[c])
        values[c] = values[c] / (root * np.sqrt(root))
    if out.itemsize == 4:
        for c in range(values.shape[0]):
            out[y, x, c] = bits[c]
    else:
        for c in range(values.shape[0]):
            odd = (bits[c] >> np.uint32(16)) & np.uint32(1)
            out[y, x, c] = (bits[c] + np.uint32(0x7FFF) + odd) >> np.uint32(16)
