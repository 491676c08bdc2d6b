"""Rows of numbers as they are stored: half floats, or a byte a value in steps of the row's own.

Features of windows are what detectors are trained from by the terabyte. None is negative, and an SVM doesn't see the
difference of a 255th of a row's greatest value.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipelines.artifacts.steps_numba import LANES, MINUS_ZERO, greatest, has_kernel, multiply_rows, round_rows
from sppnet.arrays import Array, Float32s, Floats, Integers
from sppnet.compiling import compiled

RowType = Literal["float16", "uint8"]
"""How features are stored: every bit of them, or rounded to 255 steps between 0 and the row's greatest value."""
_STEPS = 255


def row_bytes(kind: RowType) -> int:
    """Return the bytes of a value in memory."""
    return 1 if kind == "uint8" else 2


def stored_rows(
    rows: npt.NDArray[np.float16], kind: RowType, chosen: Integers | None = None
) -> tuple[Array, Float32s | None]:
    """Return rows `[m, d]` as they are to be stored, with the sizes of their steps `[m]` if they are in steps.

    Args:
        rows: `[n, d]`.
        kind: How to store them.
        chosen: `[m]` those that are wanted; default: all.
    """
    if kind == "uint8":
        return to_steps(rows, chosen)
    return rows if chosen is None else rows[chosen], None


def as_floats(rows: Array, steps: Float32s | None) -> Floats:
    """Undo `stored_rows`."""
    found: Floats = rows if steps is None else from_steps(rows, steps)
    return found


def to_steps(rows: npt.NDArray[np.float16], chosen: Integers | None = None) -> tuple[npt.NDArray[np.uint8], Float32s]:
    """Round rows of finite numbers to 255 steps each.

    Args:
        rows: `[n, d]`.
        chosen: `[m]` those to round; default: all.

    Returns:
        Bytes `[m, d]`, and the size of each row's steps, float32 `[m]`.

    Raises:
        ValueError: A number is negative.
    """
    bits = np.ascontiguousarray(rows).view(np.uint16)
    wanted = np.arange(len(bits)) if chosen is None else chosen
    top, found = np.empty(len(wanted), np.uint16), np.empty((len(wanted), bits.shape[1]), np.uint8)
    # Bits of numbers that are not negative have the order of the numbers.
    greatest(bits, wanted, top)
    if top.max(initial=0) > MINUS_ZERO:
        raise ValueError("a feature is negative: only those after a ReLU are stored in steps")
    steps = top.view(np.float16).astype(np.float32) / np.float32(_STEPS)
    divisors = np.where(steps > 0, steps, np.float32(1))
    if has_kernel() and bits.shape[1] % LANES == 0:
        round_rows(bits, wanted, divisors, found)
    else:
        _round(bits, wanted, _values(), divisors, found)
    return found, steps


def from_steps(rows: npt.NDArray[np.uint8], steps: Float32s) -> npt.NDArray[np.float16]:
    """Return what `to_steps` was given, rounded, float16 `[n, d]`."""
    found, sizes = np.empty(rows.shape, np.float16), steps.astype(np.float32)
    if has_kernel() and rows.shape[1] % LANES == 0:
        multiply_rows(np.ascontiguousarray(rows), sizes, found.view(np.uint16))
        return found
    tables = (np.arange(256, dtype=np.float32) * sizes[:, None]).astype(np.float16)
    _look_up(rows, tables.view(np.uint16), found.view(np.uint16))
    return found


@cache
def _values() -> Float32s:
    """Return the number of each pattern of bits of a float16 that is not negative, and of minus zero."""
    return np.arange(MINUS_ZERO + 1, dtype=np.uint16).view(np.float16).astype(np.float32)


@compiled()
def _round(bits: Array, chosen: Integers, values: Float32s, steps: Float32s, found: npt.NDArray[np.uint8]) -> None:
    for row in range(len(chosen)):
        own = bits[chosen[row]]
        for place in range(bits.shape[1]):
            found[row, place] = np.uint8(values[own[place]] / steps[row] + np.float32(0.5))


@compiled()
def _look_up(rows: npt.NDArray[np.uint8], tables: Array, found: Array) -> None:
    for row in range(len(rows)):
        for place in range(rows.shape[1]):
            found[row, place] = tables[row, rows[row, place]]
