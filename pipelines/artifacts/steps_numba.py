"""Half floats rounded to steps of a byte, and back, by AVX-512, which widens and narrows half floats."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from sppnet.compiling import compiled
from sppnet.vector_code import cpu_has, data_of, load, splat, store

LANES = 16
"""Values of a vector; a row must have a multiple of so many."""
MINUS_ZERO = 0x8000
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_HALVES = ir.VectorType(ir.HalfType(), LANES)
_BYTES = ir.VectorType(ir.IntType(8), LANES)
_INTEGERS = ir.VectorType(ir.IntType(32), LANES)


def has_kernel() -> bool:
    """Tell whether this CPU has what the kernel is laid out for."""
    return cpu_has("avx512f")


def _type_round(_: Any, bits: Any, at: Any, step: Any, found: Any, to: Any) -> Any:
    """Write the half floats from `at` on, divided by the step and rounded, to `found` from `to` on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, place, size, target, goal = args
        halves = load(builder, data_of(context, builder, bits, source), place, _HALVES, 2)
        steps = builder.fdiv(builder.fpext(halves, _FLOATS), splat(builder, size, LANES))
        rounded = builder.fptoui(builder.fadd(steps, ir.Constant(_FLOATS, [0.5] * LANES)), _INTEGERS)
        store(builder, builder.trunc(rounded, _BYTES), data_of(context, builder, found, target), goal, 1)
        return context.get_dummy_value()

    return types.void(bits, types.intp, types.float32, found, types.intp), generate


_round: Any = intrinsic(_type_round)


def _type_multiply(_: Any, numbers: Any, at: Any, step: Any, bits: Any) -> Any:
    """Write the bytes from `at` on, times the step, as half floats to the same places of `bits`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, place, size, target = args
        loaded = load(builder, data_of(context, builder, numbers, source), place, _BYTES, 1)
        products = builder.fmul(builder.uitofp(loaded, _FLOATS), splat(builder, size, LANES))
        store(builder, builder.fptrunc(products, _HALVES), data_of(context, builder, bits, target), place, 2)
        return context.get_dummy_value()

    return types.void(numbers, types.intp, types.float32, bits), generate


_multiply: Any = intrinsic(_type_multiply)


@compiled()
def greatest(bits: Any, chosen: Any, found: Any) -> None:
    """Write the greatest bits of each chosen row of `bits` `[n, d]` to `found`, those of minus zero as zero's."""
    for row in range(len(chosen)):
        own = bits[chosen[row]]
        top = np.uint16(0)
        for place in range(len(own)):
            top = max(top, np.uint16(0) if own[place] == MINUS_ZERO else own[place])
        found[row] = top


@compiled()
def round_rows(bits: Any, chosen: Any, steps: Any, found: Any) -> None:
    """Round chosen rows of half floats to multiples of their steps.

    Args:
        bits: uint16 `[n, d]` contiguous, d a multiple of `LANES`.
        chosen: `[m]` rows.
        steps: float32 `[m]`, above 0.
        found: uint8 `[m, d]`.
    """
    flat, out, length = bits.reshape(-1), found.reshape(-1), bits.shape[1]
    for row in range(len(chosen)):
        for place in range(0, length, LANES):
            _round(flat, chosen[row] * length + place, steps[row], out, row * length + place)


@compiled()
def multiply_rows(numbers: Any, steps: Any, bits: Any) -> None:
    """Undo `round_rows`: write uint8 `[n, d]` times the rows' steps to uint16 `[n, d]`, the bits of half floats."""
    flat, out = numbers.reshape(-1), bits.reshape(-1)
    for row in range(len(steps)):
        for place in range(row * numbers.shape[1], (row + 1) * numbers.shape[1], LANES):
            _multiply(flat, place, steps[row], out)
