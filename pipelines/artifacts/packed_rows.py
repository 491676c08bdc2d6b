"""Rows of numbers as two Parquet columns: masks of what is not zero, and the values there, one behind the other.

Features after a ReLU are a third to four fifths zeros. Without them a compressor has half the work and packs as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.artifacts.nonzeros import find_nonzeros, mask_bytes, put_nonzeros
from pipelines.artifacts.parquet import binary_column
from sppnet.arrays import Array, Integers
from sppnet.errors import ArtifactError

_BITS: Mapping[int, np.dtype[np.unsignedinteger[Any]]] = {1: np.dtype("u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4")}


def packed_columns(rows: Array) -> tuple[pa.LargeBinaryArray, pa.LargeBinaryArray]:
    """Return the masks and the values that are not zero of `[n, d]` numbers of one, two or four bytes."""
    bits = np.ascontiguousarray(rows).view(_BITS[rows.itemsize])
    words, found = find_nonzeros(bits)
    counts = np.bitwise_count(words).sum(axis=1, dtype=np.int64)
    masks = np.full(len(rows), mask_bytes(rows.shape[1]))
    return (
        binary_column(words.reshape(-1).view(np.uint8), masks),
        binary_column(found.view(np.uint8), counts * rows.itemsize),
    )


def unpack_columns(
    masks: pa.ChunkedArray, nonzeros: pa.ChunkedArray, width: int, dtype: npt.DTypeLike, where: str
) -> Array:
    """Return the rows `[n, width]` that `packed_columns` was given.

    Raises:
        ArtifactError: The columns are not those of such rows; the message names `where`.
    """
    kind = np.dtype(dtype)
    flags, sizes = _bytes_of(masks)
    values, value_sizes = _bytes_of(nonzeros)
    if width < 1 or (sizes != mask_bytes(width)).any() or len(values) % kind.itemsize:
        raise ArtifactError(f"{where}: its features are not rows of {width} {kind.name} values")
    words = flags.view("<u8").reshape(len(sizes), -1)
    if (np.bitwise_count(words).sum(axis=1, dtype=np.int64) * kind.itemsize != value_sizes).any():
        raise ArtifactError(f"{where}: a row of features has more or fewer values than its mask has bits")
    try:
        found: Array = put_nonzeros(words, values.view(_BITS[kind.itemsize]), width).view(kind)
    except ArtifactError as error:
        raise ArtifactError(f"{where}: {error}") from error
    return found


def _bytes_of(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.uint8], Integers]:
    """Return the bytes of all rows of a binary column, aligned, and the size of each row."""
    parts, sizes = [], []
    for chunk in column.chunks:
        offsets = np.frombuffer(chunk.buffers()[1], np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
        if len(chunk):
            parts.append(np.frombuffer(chunk.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]])
            sizes.append(np.diff(offsets))
    found = np.concatenate(parts) if len(parts) != 1 else np.require(parts[0], requirements="A")
    return found, np.concatenate(sizes)
