"""Products of many rows with the weights of a few categories on the CPU: a kernel of vector instructions.

Libraries' matrix products take float32 alone, and lay out tall matrices anew before they multiply. Here a tile of rows
and categories stays in registers while its vectors run along the features; half floats are widened as they are loaded.
Rows and features are taken in pieces that stay in the caches. A row's result depends on no other row.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import torch
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from sppnet.arrays import Array, Float32s
from sppnet.compiling import compiled
from sppnet.threads import run_split
from sppnet.vector_code import cpu_has, data_of, declared, load

LANES = 16
"""Features of a vector; a row must have a multiple of so many."""
_ROWS, _CATEGORIES = 6, 4  # of a tile: 24 sums, 4 weights and a vector of features are what 32 registers hold
_ROWS_AT_ONCE = 96  # 384 kB of half floats with so many features, which share a core's cache with a tile's weights
_FEATURES_AT_ONCE = 2048
_PRODUCTS_PER_THREAD = 4_000_000  # by one thread before a second one is worth its start


def has_kernel() -> bool:
    """Tell whether this CPU has what the kernel is laid out for: AVX-512, which widens half floats too."""
    return cpu_has("avx512f")


def _type_tile(
    _: Any, rows: Any, first: Any, last: Any, weights: Any, category: Any, length: Any,
    start: Any, count: Any, out: Any, categories: Any,
) -> Any:  # fmt: skip
    """Add a tile's products over the features `start <= f < start + count` to `out`; rows beyond `last` are left out.

    `rows`, `weights` and `out` are 1-D: `[n, length]`, `[categories, length]` and `[n, categories]`.
    """
    is_half = rows.dtype.bitwidth == 16

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values, first_row, last_row, weight_values, first_category, d, begin, features, results, width = args
        vector = ir.VectorType(ir.FloatType(), LANES)
        loaded = ir.VectorType(ir.HalfType() if is_half else ir.FloatType(), LANES)
        index_type = first_row.type

        def number(value: int) -> Any:
            return ir.Constant(index_type, value)

        fma = declared(builder, f"llvm.fma.v{LANES}f32", vector, vector, vector, vector)
        total = declared(builder, f"llvm.vector.reduce.fadd.v{LANES}f32", ir.FloatType(), ir.FloatType(), vector)
        own = [builder.add(first_row, number(r)) for r in range(_ROWS)]
        # The last tile takes its last row more than once instead of rows that are not there.
        own = [builder.select(builder.icmp_signed("<", row, last_row), row, last_row) for row in own]
        starts = [builder.add(builder.mul(row, d), begin) for row in own]
        columns = [builder.add(first_category, number(c)) for c in range(_CATEGORIES)]
        weight_starts = [builder.add(builder.mul(column, d), begin) for column in columns]
        base, weight_base = data_of(context, builder, rows, values), data_of(context, builder, weights, weight_values)
        out_base = data_of(context, builder, out, results)

        entry = builder.block
        body, end = builder.append_basic_block("features"), builder.append_basic_block("sums")
        builder.branch(body)
        builder.position_at_end(body)
        place = builder.phi(index_type)
        place.add_incoming(number(0), entry)
        sums = [[builder.phi(vector) for _ in columns] for _ in own]
        factors = [load(builder, weight_base, builder.add(at, place), vector, 2) for at in weight_starts]
        following = builder.add(place, number(LANES))
        added = []
        for row_sums, at in zip(sums, starts, strict=True):
            one = load(builder, base, builder.add(at, place), loaded, 2)
            wide = builder.fpext(one, vector) if is_half else one
            added.append([builder.call(fma, [wide, w, s]) for w, s in zip(factors, row_sums, strict=True)])
        for old, new in zip(chain(*sums), chain(*added), strict=True):
            old.add_incoming(ir.Constant(vector, [0.0] * LANES), entry)
            old.add_incoming(new, body)
        place.add_incoming(following, body)
        builder.cbranch(builder.icmp_signed("<", following, features), body, end)

        builder.position_at_end(end)
        for r, row in enumerate(own):
            is_new = builder.icmp_signed("<=", builder.add(first_row, number(r)), last_row)
            for column, products in zip(columns, added[r], strict=True):
                found = builder.call(total, [ir.Constant(ir.FloatType(), 0.0), products], fastmath=("reassoc",))
                pointer = builder.gep(out_base, [builder.add(builder.mul(row, width), column)])
                grown = builder.fadd(builder.load(pointer), found)
                builder.store(builder.select(is_new, grown, builder.load(pointer)), pointer)
        return context.get_dummy_value()

    integers = (types.intp,) * 2
    return types.void(rows, *integers, weights, *integers, *integers, out, types.intp), generate


_tile: Any = intrinsic(_type_tile)


@compiled()
def _multiply(rows: Any, weights: Any, length: int, categories: int, out: Any, begin: int, end: int) -> None:
    """Add the products of the rows `begin <= r < end`."""
    for first in range(begin, end, _ROWS_AT_ONCE):
        last = min(first + _ROWS_AT_ONCE, end) - 1
        for start in range(0, length, _FEATURES_AT_ONCE):
            count = min(_FEATURES_AT_ONCE, length - start)
            for category in range(0, categories, _CATEGORIES):
                for row in range(first, last + 1, _ROWS):
                    _tile(rows, row, last, weights, category, length, start, count, out, categories)


def laid_out(weights: Float32s, biases: Float32s) -> tuple[Float32s, Float32s]:
    """Return weights `[k, d]` and biases `[k]` as `multiply` takes them: of as many categories as fill whole tiles."""
    more = -len(weights) % _CATEGORIES
    wide = np.ascontiguousarray(np.pad(weights.astype(np.float32), ((0, more), (0, 0))))
    return wide, np.pad(biases.astype(np.float32), (0, more))


def multiply(rows: torch.Tensor, weights: Float32s, biases: Float32s) -> Float32s:
    """Return `rows @ weights.T + biases`, float32 `[n, k]`.

    Args:
        rows: `[n, d]` contiguous on the CPU, float16 or float32; d is a multiple of `LANES`.
        weights: float32 `[k, d]` as `laid_out` returns them.
        biases: float32 `[k]` likewise. Uses up to `torch.get_num_threads()` threads.
    """
    n, length = rows.shape
    values: Array = rows.detach().numpy().reshape(-1)
    bits = values.view(np.uint16) if values.dtype == np.float16 else values
    out = np.tile(biases, (n, 1))
    flat, sums = weights.reshape(-1), out.reshape(-1)
    threads = max(1, min(torch.get_num_threads(), n * weights.size // _PRODUCTS_PER_THREAD))

    def work(begin: int, end: int) -> None:
        _multiply(bits, flat, length, len(weights), sums, begin, end)

    run_split(work, [n * part // threads for part in range(threads + 1)])
    return out
