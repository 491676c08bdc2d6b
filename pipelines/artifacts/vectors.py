"""Pooled vectors and what is above them as a Parquet column: where they are not zero, and what they are there.

They are written while windows are mined or sampled, which they must not hold up: what zstd could still save of the
values is not worth its time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.artifacts.nonzeros import find_nonzeros, mask_bytes, put_nonzeros
from pipelines.artifacts.parquet import binary_column, binary_rows
from sppnet.arrays import Floats, Integers
from sppnet.errors import ArtifactError

VECTOR = pa.struct([("length", pa.int32()), ("mask", pa.large_binary()), ("nonzeros", pa.large_binary())])
"""Type of the column: float16 values, little-endian, as `find_nonzeros` gives them."""


def vector_column(rows: Floats) -> pa.StructArray:
    """Return float16 vectors `[n, d]` as a column of `n` rows."""
    n, length = rows.shape
    words, found = find_nonzeros(np.ascontiguousarray(rows, dtype=np.float16).view("<u2"))
    parts = [
        pa.array(np.full(n, length, np.int32)),
        binary_column(words.reshape(-1).view(np.uint8), np.full(n, mask_bytes(length))),
        binary_column(found.view(np.uint8), _sizes(words)),
    ]
    return pa.StructArray.from_arrays(parts, fields=list(VECTOR))


def read_vectors(column: pa.ChunkedArray, where: str) -> npt.NDArray[np.float16]:
    """Return the vectors `[n, d]` of a column.

    Raises:
        ArtifactError: They are damaged, or not all of one length; the message names `where`.
    """
    lengths, *parts = column.combine_chunks().flatten()
    if not len(lengths):
        return np.zeros((0, 0), np.float16)
    length = lengths[0].as_py()
    (mask, mask_sizes), (nonzeros, sizes) = map(binary_rows, parts)
    if length < 1 or any(lengths.to_numpy() != length) or any(mask_sizes != mask_bytes(length)):
        raise ArtifactError(f"{where}: its vectors are not all of one length")
    words = mask.view("<u8").reshape(len(lengths), -1)
    if any(sizes != _sizes(words)):
        raise ArtifactError(f"{where}: its vectors have not as many values as their masks have bits")
    try:
        rows = put_nonzeros(words, nonzeros.view("<u2"), length)
    except ArtifactError as error:
        raise ArtifactError(f"{where}: its vectors are damaged ({error})") from error
    return rows.view(np.float16)


def _sizes(words: npt.NDArray[np.uint64]) -> Integers:
    """Return the bytes of each row's values."""
    counts: Integers = np.bitwise_count(words).sum(axis=1, dtype=np.int64)
    return counts * np.dtype(np.float16).itemsize
