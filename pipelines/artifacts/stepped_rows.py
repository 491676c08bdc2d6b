"""Rows of numbers as a Parquet column: as they are in memory, or a byte a value in steps of the row's own.

Features of windows are what detectors are trained from by the terabyte. None is negative, and an SVM doesn't see the
difference of a 255th of a row's greatest value.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.artifacts.steps_numba import LANES, MINUS_ZERO, greatest, has_kernel, multiply_rows, round_rows
from sppnet.arrays import Array, Float32s, Integers
from sppnet.compiling import compiled
from sppnet.errors import ArtifactError

RowType = Literal["float16", "uint8"]
"""How features are stored: every bit of them, or rounded to 255 steps between 0 and the row's greatest value."""
_STEPS = 255


def vector_column(rows: Array) -> pa.LargeBinaryArray:
    """Return `[n, d]` as a column of `n` byte strings, without a copy."""
    values = np.ascontiguousarray(rows)
    offsets = np.arange(len(values) + 1, dtype=np.int64) * (values.shape[1] * values.itemsize)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(values.reshape(-1).view(np.uint8))]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(values), buffers)


def read_vectors(column: pa.ChunkedArray, dtype: npt.DTypeLike, where: str) -> Array:
    """Return the rows of a column that `vector_column` made, `[n, d]`.

    Raises:
        ArtifactError: The rows are not all of one length; the message names `where`.
    """
    parts = [np.frombuffer(blob.as_buffer(), dtype) for blob in column]
    if len({len(part) for part in parts}) > 1:
        raise ArtifactError(f"{where}: its vectors are of different lengths")
    found: Array = np.stack(parts) if parts else np.zeros((0, 0), dtype)
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
