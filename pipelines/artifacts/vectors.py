"""Rows of numbers as a Parquet column: a row's bytes as they are in memory, little-endian."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sppnet.arrays import Floats
from sppnet.errors import ArtifactError


def vector_column(rows: Floats) -> pa.LargeBinaryArray:
    """Return `[n, d]` as a column of `n` byte strings, without a copy."""
    values = np.ascontiguousarray(rows)
    offsets = np.arange(len(values) + 1, dtype=np.int64) * (values.shape[1] * values.itemsize)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(values.reshape(-1).view(np.uint8))]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(values), buffers)


def read_vectors(column: pa.ChunkedArray, dtype: npt.DTypeLike, where: str) -> Floats:
    """Return the rows of a column that `vector_column` made, `[n, d]`, read-only.

    Raises:
        ArtifactError: The rows are not all of one length; the message names `where`.
    """
    parts = [np.frombuffer(blob.as_buffer(), dtype) for blob in column]
    if len({len(part) for part in parts}) > 1:
        raise ArtifactError(f"{where}: its vectors are of different lengths")
    found: Floats = np.stack(parts) if parts else np.zeros((0, 0), dtype)
    return found
