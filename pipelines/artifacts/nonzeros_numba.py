"""Where values are not zero, a word of 64 at a time, by the instructions of AVX-512 that squeeze and spread vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from sppnet.compiling import compiled
from sppnet.vector_code import count_ones, cpu_has, data_of, declared, load, store

WORD_BITS = 64
_VECTOR_BITS = 512
_WORD = ir.IntType(WORD_BITS)


def has_kernel() -> bool:
    """Tell whether this CPU can squeeze vectors of bytes."""
    return cpu_has("avx512f", "avx512bw", "avx512vbmi2")


def _parts(width: int) -> Iterator[tuple[int, int]]:
    """Yield the first value and the number of values of each vector of a word's."""
    lanes = _VECTOR_BITS // width
    yield from ((first, lanes) for first in range(0, WORD_BITS, lanes))


def _widened(builder: Any, bits: Any) -> Any:
    return bits if bits.type.width == WORD_BITS else builder.zext(bits, _WORD)


def _type_squeeze(_: Any, values: Any, at: Any, found: Any, count: Any) -> Any:
    """Write those of the 64 values from `at` on that are not zero to `found` from `count` on; return their mask.

    `values` and `found` are 1-D; what lies behind them in `found`, up to a whole vector, is overwritten.
    """
    width = values.dtype.bitwidth

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, place, target, end = args
        base, out = data_of(context, builder, values, source), data_of(context, builder, found, target)
        popcount = declared(builder, "llvm.ctpop.i64", _WORD, _WORD)
        mask = ir.Constant(_WORD, 0)
        for first, lanes in _parts(width):
            kind, flags = ir.VectorType(ir.IntType(width), lanes), ir.VectorType(ir.IntType(1), lanes)
            # Squeezed in a register: processors of some makers take hundreds of cycles to do it while they store.
            squeeze = declared(builder, f"llvm.experimental.vector.compress.v{lanes}i{width}", kind, kind, flags, kind)
            vector = load(builder, base, builder.add(place, ir.Constant(place.type, first)), kind, width // 8)
            some = builder.icmp_unsigned("!=", vector, ir.Constant(kind, [0] * lanes))
            squeezed = builder.call(squeeze, [vector, some, ir.Constant(kind, ir.Undefined)])
            store(builder, squeezed, out, end, width // 8)
            own = _widened(builder, builder.bitcast(some, ir.IntType(lanes)))
            mask = builder.or_(mask, builder.shl(own, ir.Constant(_WORD, first)))
            end = builder.add(end, builder.call(popcount, [own]))
        return mask

    return types.uint64(values, types.intp, found, types.intp), generate


_squeeze: Any = intrinsic(_type_squeeze)


def _type_unsqueeze(_: Any, found: Any, count: Any, mask: Any, values: Any, at: Any) -> Any:
    """Undo `_squeeze`: write 64 values from `at` on, those of the mask from `found`, zeros between."""
    width = values.dtype.bitwidth

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, start, word, target, place = args
        base, out = data_of(context, builder, found, source), data_of(context, builder, values, target)
        popcount = declared(builder, "llvm.ctpop.i64", _WORD, _WORD)
        for first, lanes in _parts(width):
            item, bits = ir.IntType(width), ir.IntType(lanes)
            kind, flags = ir.VectorType(item, lanes), ir.VectorType(ir.IntType(1), lanes)
            name = f"llvm.masked.expandload.v{lanes}i{width}"
            spread = declared(builder, name, kind, item.as_pointer(), flags, kind)
            own = builder.lshr(word, ir.Constant(_WORD, first))
            own = own if lanes == WORD_BITS else builder.trunc(own, bits)
            zeros = ir.Constant(kind, [0] * lanes)
            vector = builder.call(spread, [builder.gep(base, [start]), builder.bitcast(own, flags), zeros])
            store(builder, vector, out, builder.add(place, ir.Constant(place.type, first)), width // 8)
            start = builder.add(start, builder.call(popcount, [_widened(builder, own)]))
        return context.get_dummy_value()

    return types.void(found, types.intp, types.uint64, values, types.intp), generate


_unsqueeze: Any = intrinsic(_type_unsqueeze)


@compiled()
def squeeze_rows(rows: Any, words: Any, found: Any) -> int:
    """Write the masks of rows to `words`, and the values that are not zero to `found`, one behind the other.

    Args:
        rows: `[n, width]` unsigned integers; width a multiple of 64.
        words: `[n, width / 64]`.
        found: 1-D, with room for a vector more than there are values.

    Returns:
        How many values were written.
    """
    flat, count = rows.reshape(-1), 0
    for row in range(rows.shape[0]):
        for word in range(words.shape[1]):
            words[row, word] = _squeeze(flat, row * rows.shape[1] + word * WORD_BITS, found, count)
            count += count_ones(words[row, word])
    return count


@compiled()
def spread_rows(words: Any, found: Any, rows: Any) -> None:
    """Undo `squeeze_rows`; `found` has exactly as many values as the words have bits."""
    flat, count = rows.reshape(-1), 0
    for row in range(rows.shape[0]):
        for word in range(words.shape[1]):
            _unsqueeze(found, count, words[row, word], flat, row * rows.shape[1] + word * WORD_BITS)
            count += count_ones(words[row, word])
