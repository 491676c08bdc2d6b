"""Parquet's frame around every layout; the layouts' own tests are in `test_layouts.py`."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.artifacts.parquet import (
    binary_column,
    open_tables,
    stream_tables,
    write_tables,
)
from sppnet.errors import ArtifactError

SCHEMA = pa.schema([("key", pa.string()), ("number", pa.int32())])


def table(*keys: str) -> pa.Table:
    return pa.table({"key": list(keys), "number": list(range(len(keys)))}, schema=SCHEMA)


TABLES = [table("a", "b"), table("c")]


def test_each_table_is_a_row_group_in_order() -> None:
    file = open_tables(write_tables(TABLES, SCHEMA), SCHEMA, "here")
    assert file.num_row_groups == 2
    assert file.read().to_pydict() == {"key": ["a", "b", "c"], "number": [0, 1, 0]}


def test_a_stream_holds_the_same_bytes(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as sink:
        stream_tables(iter(TABLES), SCHEMA, sink)
    assert (tmp_path / "file").read_bytes() == write_tables(TABLES, SCHEMA)


def test_rows_of_bytes_are_a_column() -> None:
    data = np.arange(9, dtype=np.uint8)
    column = binary_column(data, np.array([4, 0, 5]))
    assert column.to_pylist() == [bytes(range(4)), b"", bytes(range(4, 9))]


def test_columns_are_zstd_without_dictionaries_and_have_statistics_where_asked() -> None:
    group = pq.ParquetFile(io.BytesIO(write_tables(TABLES, SCHEMA, statistics=("key",)))).metadata.row_group(0)
    key, number = group.column(0), group.column(1)
    assert {key.compression, number.compression} == {"ZSTD"}
    assert not any("DICTIONARY" in encoding for encoding in (*key.encodings, *number.encodings))
    assert (key.statistics.min, key.statistics.max) == ("a", "b")
    assert number.statistics is None


def test_a_changed_byte_of_a_page_is_noticed_by_who_reads_parts() -> None:
    data = bytearray(write_tables([table(*(str(n) for n in range(1000)))], SCHEMA))
    column = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(0)
    data[column.data_page_offset + column.total_compressed_size - 5] ^= 0xFF
    file = open_tables(io.BytesIO(data), SCHEMA, "here")  # type: ignore[arg-type]
    assert file.read(columns=["number"]).num_rows == 1000
    with pytest.raises(OSError, match=r"(?i)crc|checksum"):
        file.read(columns=["key"])


def test_another_schema_is_told() -> None:
    with pytest.raises(ArtifactError, match=r"^here: columns are key string, number int32; expected key string$"):
        open_tables(write_tables(TABLES, SCHEMA), pa.schema([("key", pa.string())]), "here")


def test_what_is_no_parquet_is_told() -> None:
    with pytest.raises(ArtifactError, match=r"^here: not a Parquet file"):
        open_tables(b"PAR1", SCHEMA, "here")
