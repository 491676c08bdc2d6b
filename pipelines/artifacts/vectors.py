"""Rows of numbers as a Parquet column: as they are in memory, or a byte a value in steps of the row's own.

Features of windows are what detectors are trained from by the terabyte. None is negative, and an SVM doesn't see the
difference of a 255th of a row's greatest value.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sppnet.arrays import Array, Float32s, Floats
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


def to_steps(rows: Floats) -> tuple[npt.NDArray[np.uint8], Float32s]:
    """Round rows `[n, d]` of finite numbers to 255 steps each.

    Returns:
        Bytes `[n, d]`, and the size of each row's steps, float32 `[n]`.

    Raises:
        ValueError: A number is negative.
    """
    values = rows.astype(np.float32)
    if values.min(initial=0.0) < 0:
        raise ValueError("a feature is negative: only those after a ReLU are stored in steps")
    steps = values.max(axis=1, initial=0.0) / np.float32(_STEPS)
    values /= np.where(steps > 0, steps, np.float32(1))[:, None]
    return np.rint(values).astype(np.uint8), steps


def from_steps(rows: npt.NDArray[np.uint8], steps: Float32s) -> npt.NDArray[np.float16]:
    """Return what `to_steps` was given, rounded, float16 `[n, d]`."""
    return (rows * steps.astype(np.float32)[:, None]).astype(np.float16)
