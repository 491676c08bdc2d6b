"""Rows that are mostly zeros, as a mask of where they are not and the values there: no bit is lost, of any values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic

from pipelines.artifacts.nonzeros_numba import WORD_BITS, has_kernel, spread_rows, squeeze_rows
from sppnet.arrays import Array
from sppnet.compiling import compiled
from sppnet.errors import ArtifactError

Words = npt.NDArray[np.uint64]


def mask_bytes(width: int) -> int:
    """Return the bytes that the mask of a row of `width` values takes."""
    return math.ceil(width / WORD_BITS) * 8


def find_nonzeros(rows: Array) -> tuple[Words, Array]:
    """Find what is not zero.

    Args:
        rows: `[n, width]` unsigned integers.

    Returns:
        `[n, words]` little-endian words of 64 values, bit `i` for a word's `i`-th; and the values, row by row.
    """
    if has_kernel() and rows.shape[1] % WORD_BITS == 0:
        words = np.empty((len(rows), rows.shape[1] // WORD_BITS), np.uint64)
        # Pages that are never written take no memory.
        found = np.empty(rows.size + WORD_BITS, rows.dtype)
        return words, found[: squeeze_rows(np.ascontiguousarray(rows), words, found)]
    mask = np.zeros((len(rows), mask_bytes(rows.shape[1])), np.uint8)
    mask[:, : math.ceil(rows.shape[1] / 8)] = np.packbits(rows != 0, axis=1, bitorder="little")
    words = mask.view("<u8")
    found = np.empty(count_bits(words), rows.dtype)
    _collect(rows, words, found)
    return words, found


def put_nonzeros(words: Words, found: Array, width: int) -> Array:
    """Undo `find_nonzeros`: return the rows `[n, width]`.

    Raises:
        ArtifactError: These are not the values of such a mask.
    """
    # The kernel checks no index: what it would read or write is checked here.
    if words.shape[1] != mask_bytes(width) // 8 or _beyond(words, width).any():
        raise ArtifactError(f"the mask is not one of {width} values a row")
    if len(found) != (count := count_bits(words)):
        raise ArtifactError(f"the mask has {count} bits for {len(found)} values")
    rows = np.empty((len(words), width), found.dtype)
    spread = spread_rows if has_kernel() and width % WORD_BITS == 0 else _spread
    spread(words, found, rows)
    return rows


def count_bits(words: Words) -> int:
    """Return how many bits are set."""
    return int(np.bitwise_count(words).sum(dtype=np.int64))


def _beyond(words: Words, width: int) -> Words:
    """Return, for each row, the bits of its last word that stand for no value."""
    used = width - (words.shape[1] - 1) * WORD_BITS
    return words[:, -1] & np.uint64((1 << WORD_BITS) - (1 << used))


def _type_lowest_bit(_: Any, word: Any) -> Any:
    """Return the place of a word's lowest bit; the word is not 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], context.get_constant(types.boolean, True))

    return types.uint64(word), generate


_lowest_bit: Any = intrinsic(_type_lowest_bit)


@compiled()
def _collect(rows: Any, words: Any, found: Any) -> None:
    """Write the values whose bit is set, one behind the other."""
    count = 0
    for row in range(words.shape[0]):
        for word in range(words.shape[1]):
            bits = words[row, word]
            while bits != 0:
                found[count] = rows[row, word * WORD_BITS + np.int64(_lowest_bit(bits))]
                count += 1
                bits &= bits - np.uint64(1)


@compiled()
def _spread(words: Any, found: Any, rows: Any) -> None:
    """Undo `_collect`, with zeros between."""
    count = 0
    for row in range(words.shape[0]):
        for place in range(rows.shape[1]):
            rows[row, place] = 0
        for word in range(words.shape[1]):
            bits = words[row, word]
            while bits != 0:
                rows[row, word * WORD_BITS + np.int64(_lowest_bit(bits))] = found[count]
                count += 1
                bits &= bits - np.uint64(1)
