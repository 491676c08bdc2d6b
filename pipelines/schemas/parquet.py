"""Parquet as every layout uses it: raw little-endian bytes in `large_binary`, zstd, no dictionaries."""

from __future__ import annotations

import io
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from sppnet.errors import ArtifactError


def write_tables(tables: Iterable[pa.Table], schema: pa.Schema) -> bytes:
    """Encodes tables, one row group or more each."""
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink, schema, compression="zstd", compression_level=1, use_dictionary=False, write_statistics=False
    ) as writer:
        for table in tables:
            writer.write_table(table)
    return sink.getvalue()


def open_tables(data: bytes, schema: pa.Schema, where: str) -> pq.ParquetFile:
    """Opens what `write_tables` gave; raises `ArtifactError` naming `where` if the bytes are something else."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtifactError(f"{where}: not a Parquet file ({error})") from error
    if not file.schema_arrow.equals(schema):
        found, expected = (", ".join(f"{f.name} {f.type}" for f in s) for s in (file.schema_arrow, schema))
        raise ArtifactError(f"{where}: columns are {found}; expected {expected}")
    return file
