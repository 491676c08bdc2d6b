"""Pooling windows on the CPU: a numba kernel over blocks of channels.

A block is 256 bytes of channels of one cell (64 float32, 128 float16): the unit that is loaded, compared and stored, as
one LLVM vector that the compiler splits into the machine's registers. The map is laid out block after block, so that
one block of the whole map stays in the core's cache while every window is pooled from it. Per window and block, the
bins' rows are reduced first and then their columns, and coarser levels come from finer ones where they are unions.
Pooled vectors are written around the caches: they are far larger than those, and nobody reads them soon.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sppnet.arrays import Array, Integers
from sppnet.compiling import compiled
from sppnet.pooling.pyramid import Pyramid, bin_edges
from sppnet.threads import run_split

BLOCK_BYTES = 256
_STREAM_ALIGNMENT = 64
# Below this an output stays in the caches, where its reader finds it sooner.
_STREAM_BYTES = 4 << 20
# Cells reduced by one thread before a second one is worth its start (some 20 microseconds).
_CELLS_PER_THREAD = 10_000


def _block_pointer(context: Any, builder: Any, array: Any, value: Any, index: Any) -> Any:
    """Return a pointer to the block that starts at element `index` of a 1-D array."""
    element = context.get_data_type(array.dtype)
    vector = ir.VectorType(element, BLOCK_BYTES * 8 // array.dtype.bitwidth)
    data = context.make_array(array)(context, builder, value).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _type_block_max(_: Any, into: Any, at: Any, source: Any, first: Any, step: Any, count: Any) -> Any:
    """Set `into[at : at + lanes]` to the maximum over k < count of `source[first + k * step : + lanes]`."""
    size = source.dtype.bitwidth // 8
    is_float = isinstance(source.dtype, types.Float)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        into_value, at_value, source_value, first_value, step_value, count_value = args

        def load(index: Any) -> Any:
            return builder.load(_block_pointer(context, builder, source, source_value, index), align=size)

        start = load(first_value)
        best = cgutils.alloca_once(builder, start.type)  # type: ignore[no-untyped-call]  # becomes registers
        builder.store(start, best)
        one = ir.Constant(count_value.type, 1)
        with cgutils.for_range(builder, builder.sub(count_value, one)) as loop:
            offset = builder.mul(step_value, builder.add(loop.index, one))
            value, old = load(builder.add(first_value, offset)), builder.load(best)
            # Bit patterns of half floats without a sign order like their values, so integers may be compared.
            compare = builder.fcmp_ordered if is_float else builder.icmp_unsigned
            builder.store(builder.select(compare(">", value, old), value, old), best)
        builder.store(builder.load(best), _block_pointer(context, builder, into, into_value, at_value), align=size)
        return context.get_dummy_value()

    return types.void(into, types.intp, source, types.intp, types.intp, types.intp), generate


def _type_block_stream(_: Any, into: Any, at: Any, source: Any, first: Any) -> Any:
    """Copy a block past the caches to an address aligned to 64 bytes."""
    size = source.dtype.bitwidth // 8

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        into_value, at_value, source_value, first_value = args
        block = builder.load(_block_pointer(context, builder, source, source_value, first_value), align=size)
        pointer = _block_pointer(context, builder, into, into_value, at_value)
        store = builder.store(block, pointer, align=_STREAM_ALIGNMENT)
        store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return types.void(into, types.intp, source, types.intp), generate


def _type_fence(_: Any) -> Any:
    """Make streamed blocks visible to other threads before anything that follows."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


_block_max: Any = intrinsic(_type_block_max)
_block_stream: Any = intrinsic(_type_block_stream)
_fence: Any = intrinsic(_type_fence)


# Indices are spelled out below: a slice of an array costs as much as a bin.


@compiled()
def _level_from_map(
    blocks: Any, corner: int, width: int, lanes: int, h: int, w: int,
    edges: Any, step: int, n: int, scratch: Any, bins: Any, at: int,
) -> None:  # fmt: skip
    """Write one level's bins of a window of `h` x `w` cells whose first is at `corner`."""
    for i in range(n):
        first, count = edges[step, h, i, 0], edges[step, h, i, 1] - edges[step, h, i, 0]
        row = corner + first * width * lanes
        for x in range(w):
            _block_max(scratch, x * lanes, blocks, row + x * lanes, width * lanes, count)
        for j in range(n):
            start, stop = edges[step, w, j, 0], edges[step, w, j, 1]
            _block_max(bins, (at + i * n + j) * lanes, scratch, start * lanes, lanes, stop - start)


@compiled()
def _level_from_level(bins: Any, lanes: int, at: int, n: int, source_at: int, source_n: int, scratch: Any) -> None:
    """Write one level's bins as unions of a finer level's."""
    factor = source_n // n
    for i in range(n):
        row = source_at + i * factor * source_n
        for x in range(source_n):
            _block_max(scratch, x * lanes, bins, (row + x) * lanes, source_n * lanes, factor)
        for j in range(n):
            _block_max(bins, (at + i * n + j) * lanes, scratch, j * factor * lanes, lanes, factor)


@compiled()
def _write(bins: Any, lanes: int, count: int, out: Any, at: int, channels: int, stream: bool) -> None:
    """Copy a window's bins of one block, the last perhaps partial, to `out[at:]`, where bins lie `channels` apart."""
    full = bins.shape[0] // count
    for k in range(count):
        if lanes < full:
            for c in range(lanes):
                out[at + k * channels + c] = bins[k * full + c]
        elif stream:
            _block_stream(out, at + k * channels, bins, k * full)
        else:
            _block_max(out, at + k * channels, bins, k * full, full, 1)


@compiled()
def _pool(
    blocks: Any, width: int, lanes: int, channels: int, cells: Any, rows: Any, starts: Any,
    plan: Any, edges: Any, out: Any, begin: int, end: int, stream: bool,
) -> None:  # fmt: skip
    """Pool the (block, window) pairs `begin <= block * len(cells) + window < end`.

    Args:
        blocks: 1-D, the map as `[blocks, H, W, lanes]`.
        width: W, cells.
        lanes: channels per block.
        channels: channels of the map and of `out`.
        cells: int64 `[n, 4]`, distinct windows.
        rows: int64, the rows of `out` that window j goes to are `rows[starts[j] : starts[j + 1]]`.
        starts: int64 `[n + 1]`.
        plan: int64 `[levels, 4]`: n, its first bin, its source's n (0: the map), its source's first bin.
        edges: int64 `[levels, longest + 1, largest n, 2]`: `bin_edges` by level and length.
        out: 1-D `[N * bins * channels]`.
        begin: first pair.
        end: one past the last pair.
        stream: write past the caches; needs every row of `out` aligned to 64 bytes.
    """
    count = 0  # bins of a window
    for step in range(plan.shape[0]):
        count += plan[step, 0] ** 2
    windows = cells.shape[0]
    block_elements = blocks.shape[0] // ((channels + lanes - 1) // lanes)
    scratch = np.empty(max(edges.shape[1], edges.shape[2]) * lanes, blocks.dtype)
    bins = np.empty(count * lanes, blocks.dtype)
    # Blocks outermost: one block of the whole map stays in the cache while every window is pooled from it.
    for pair in range(begin, end):
        block, j = pair // windows, pair % windows
        corner = block * block_elements + (cells[j, 1] * width + cells[j, 0]) * lanes
        h, w = cells[j, 3] - cells[j, 1], cells[j, 2] - cells[j, 0]
        for step in range(plan.shape[0]):
            n, at, source_n = plan[step, 0], plan[step, 1], plan[step, 2]
            if source_n == 0:
                _level_from_map(blocks, corner, width, lanes, h, w, edges, step, n, scratch, bins, at)
            else:
                _level_from_level(bins, lanes, at, n, plan[step, 3], source_n, scratch)
        used = min(lanes, channels - block * lanes)
        for r in range(starts[j], starts[j + 1]):
            _write(bins, used, count, out, rows[r] * count * channels + block * lanes, channels, stream)
    _fence()  # streamed stores are not ordered with others, and another thread reads them next


def _as_blocks(maps: Array, lanes: int) -> Array:
    """Return `[H, W, C]` as 1-D `[blocks, H, W, lanes]`; the last block's missing channels are zeros."""
    height, width, channels = maps.shape
    flat = maps.reshape(height * width, channels)
    if channels % lanes:
        flat = np.pad(flat, ((0, 0), (0, -channels % lanes)))
    return flat.reshape(height * width, -1, lanes).transpose(1, 0, 2).ravel()


@functools.lru_cache(maxsize=64)
def _tables(pyramid: Pyramid, longest: int) -> tuple[Integers, Integers]:
    """Return the kernel's `plan` and `edges`, for windows of up to `longest` cells."""
    steps, slices = pyramid.plan(), pyramid.slices
    plan = np.zeros((len(steps), 4), dtype=np.int64)
    edges = np.zeros((len(steps), longest + 1, max(pyramid.levels), 2), dtype=np.int64)
    for k, step in enumerate(steps):
        plan[k, :2] = step.level, step.bins.start
        if step.source is not None:
            plan[k, 2:] = step.source, slices[step.source].start
            continue
        for length in range(1, longest + 1):
            edges[k, length, : step.level] = bin_edges(length, step.level)
    return plan, edges


def _splits(cells: Integers, blocks: int, threads: int) -> list[int]:
    """Return the bounds of the (block, window) pairs that each thread takes, about equal in work."""
    sides = cells[:, 2:] - cells[:, :2]
    # Cells, and 8 a side for what every window costs whatever its size.
    work = np.tile((sides[:, 0] + 8) * (sides[:, 1] + 8), blocks).cumsum()
    threads = int(max(1, min(threads, work[-1] // _CELLS_PER_THREAD)))
    inner = np.searchsorted(work, work[-1] * np.arange(1, threads) // threads)
    return [0, *inner.tolist(), len(work)]


def as_ordered(tensor: torch.Tensor) -> Array:
    """Return the memory of a contiguous CPU tensor as float32, or half floats' bit patterns as uint16."""
    # numpy also makes the small copies: torch's threads spin at their barriers, which is dear on a busy machine.
    array: Array = (tensor if tensor.dtype == torch.float32 else tensor.view(torch.int16)).detach().numpy()
    return array if array.dtype == np.float32 else array.view(np.uint16)


def pool_distinct(
    maps: torch.Tensor,
    cells: Integers,
    rows: Integers,
    starts: Integers,
    pyramid: Pyramid,
    out: torch.Tensor,
) -> None:
    """Pool distinct windows of a CPU map and write each to its rows of `out`.

    Args:
        maps: `[H, W, C]` contiguous, float32; or float16 or bfloat16 without any sign bit, whose bit patterns order
            like their values and are compared as integers.
        cells: `[n, 4]`, checked, n >= 1; best sorted by position.
        rows: window j goes to the rows `rows[starts[j] : starts[j + 1]]` of `out`.
        starts: `[n + 1]`.
        pyramid: the levels.
        out: `[N, bins, C]` contiguous, same dtype. Uses up to `torch.get_num_threads()` threads.
    """
    source, target = as_ordered(maps), as_ordered(out).reshape(-1)
    lanes, (_, width, channels) = BLOCK_BYTES // source.itemsize, source.shape
    aligned = target.ctypes.data % _STREAM_ALIGNMENT == 0 and channels * source.itemsize % _STREAM_ALIGNMENT == 0
    stream = bool(aligned and target.nbytes >= _STREAM_BYTES)
    plan, edges = _tables(pyramid, max(source.shape[:2]))
    blocks = _as_blocks(source, lanes)
    bounds = _splits(cells, -(-channels // lanes), torch.get_num_threads())

    def work(begin: int, end: int) -> None:
        _pool(blocks, width, lanes, channels, cells, rows, starts, plan, edges, target, begin, end, stream)

    run_split(work, bounds)
