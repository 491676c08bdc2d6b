"""Parquet as every layout uses it: raw little-endian bytes in `large_binary`, zstd, no dictionaries."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from sppnet.errors import ArtifactError


def write_tables(tables: Iterable[pa.Table], schema: pa.Schema, statistics: tuple[str, ...] = ()) -> bytes:
    """Encodes tables, one row group or more each.

    Args:
        tables: In order.
        schema: Of all of them.
        statistics: Columns whose least and greatest value of each row group are kept, so that a reader can choose.
    """
    sink = io.BytesIO()
    stream_tables(tables, schema, sink, statistics)
    return sink.getvalue()


def stream_tables(
    tables: Iterable[pa.Table], schema: pa.Schema, sink: IO[bytes], statistics: tuple[str, ...] = ()
) -> None:
    """Writes tables to an open file, as `write_tables` does; one table is in memory at a time."""
    with pq.ParquetWriter(
        sink,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        write_statistics=list(statistics) or False,
        write_page_checksum=True,
    ) as writer:
        for table in tables:
            writer.write_table(table)


def open_tables(data: bytes | io.RawIOBase, schema: pa.Schema, where: str) -> pq.ParquetFile:
    """Opens what `write_tables` gave, whole or, from a file, only those parts that are then read.

    Raises:
        ArtifactError: The bytes are something else; the message names `where`.
    """
    try:
        if isinstance(data, bytes):
            file = pq.ParquetFile(pa.BufferReader(data))
        else:  # parts of an object can't be checked against its digest: pages carry their own sums
            file = pq.ParquetFile(pa.PythonFile(data, mode="r"), pre_buffer=True, page_checksum_verification=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtifactError(f"{where}: not a Parquet file ({error})") from error
    if not file.schema_arrow.equals(schema):
        found, expected = (", ".join(f"{f.name} {f.type}" for f in s) for s in (file.schema_arrow, schema))
        raise ArtifactError(f"{where}: columns are {found}; expected {expected}")
    return file
