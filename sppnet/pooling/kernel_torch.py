"""Pooling windows with plain torch operations, on any device: the reference of the kernels, and the GPU's path.

A table holds, for every cell, the maximum over 2^a x 2^b cells from there. Any bin is the union of four such rectangles
(two along each axis, overlapping), so its maximum costs four gathers whatever its size.
"""

from __future__ import annotations

import torch

from sppnet.pooling.pyramid import Pyramid

# Bytes of a chunk's largest intermediate.
_CHUNK_BYTES = 64 << 20


def pool_distinct(maps: torch.Tensor, cells: torch.Tensor, pyramid: Pyramid) -> torch.Tensor:
    """Pool windows of a map.

    Args:
        maps: `[H, W, C]` floating point, any sign.
        cells: int64 `[n, 4]` on the map's device, checked.
        pyramid: the levels.

    Returns:
        `[n, bins, C]`, same dtype and device.
    """
    channels = maps.shape[2]
    out = maps.new_empty(len(cells), pyramid.bins, channels)
    slices = pyramid.slices
    for step in pyramid.plan():
        if step.source is None:
            _pool_level(maps, cells, step.level, out[:, step.bins])
        else:
            n, factor = step.level, step.source // step.level
            finer = out[:, slices[step.source]].view(-1, n, factor, n, factor, channels)
            out[:, step.bins] = finer.amax(dim=(2, 4)).flatten(1, 2)
    return out


def _pool_level(maps: torch.Tensor, cells: torch.Tensor, n: int, out: torch.Tensor) -> None:
    """Write one level's bins `[windows, n * n, C]`, computed from the map, to `out`."""
    height, width, channels = maps.shape
    # A maximum may count a cell twice, so two overlapping spans of one power of two cover a bin of any length.
    table, columns = _rectangle_maxima(maps, _largest_bin(height, n), _largest_bin(width, n))
    rows = max(1, _CHUNK_BYTES // (n * n * channels * maps.element_size()))
    for start in range(0, len(cells), rows):
        part = cells[start : start + rows]
        a, y0, y1 = _two_spans(part[:, 1], part[:, 3], n)
        b, x0, x1 = _two_spans(part[:, 0], part[:, 2], n)
        rectangle = (a[:, :, None] * columns + b[:, None, :]) * (height * width)
        best: torch.Tensor | None = None
        for y in (y0, y1):
            for x in (x0, x1):
                corner = table.index_select(0, (rectangle + y[:, :, None] * width + x[:, None, :]).flatten())
                best = corner if best is None else torch.maximum(best, corner, out=best)
        if best is not None:
            out[start : start + rows] = best.view(len(part), n * n, channels)


def _largest_bin(length: int, n: int) -> int:
    """Return how many cells the largest bin of any window has along an axis of `length` cells."""
    return min(length, -(-length // n) + 1)


def _rectangle_maxima(maps: torch.Tensor, tallest: int, widest: int) -> tuple[torch.Tensor, int]:
    """Return `[(a, b, y, x), C]`: maxima over 2^a x 2^b cells from (y, x); and the number of b.

    Entries whose rectangle leaves the map hold the maximum of what is inside it; none is read.
    """
    tables = []
    for a in range(tallest.bit_length()):
        if a:
            maps = _doubled(maps, 0, 1 << (a - 1))
        line = maps
        for b in range(widest.bit_length()):
            if b:
                line = _doubled(line, 1, 1 << (b - 1))
            tables.append(line)
    return torch.stack(tables).flatten(0, 2), widest.bit_length()


def _doubled(maps: torch.Tensor, axis: int, by: int) -> torch.Tensor:
    """Return the maximum of each cell and the one `by` cells further along an axis."""
    result = maps.clone()
    inside = result.narrow(axis, 0, maps.shape[axis] - by)
    torch.maximum(inside, maps.narrow(axis, by, maps.shape[axis] - by), out=inside)
    return result


def _two_spans(lo: torch.Tensor, hi: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cover each window's bins along one axis by two spans of 2^a cells: a and their starts, `[windows, n]` each."""
    i = torch.arange(n, device=lo.device)
    length = (hi - lo)[:, None]
    start = lo[:, None] + torch.div(i * length, n, rounding_mode="floor")
    stop = lo[:, None] + torch.div((i + 1) * length + n - 1, n, rounding_mode="floor")
    # frexp's exponent is exact, where a logarithm might round up.
    power = torch.frexp((stop - start).double()).exponent.long() - 1
    return power, start, stop - (1 << power)
