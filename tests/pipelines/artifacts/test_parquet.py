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
    read_outside_rows,
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


def test_rows_from_outside_are_those_of_the_file() -> None:
    data = write_tables(TABLES, SCHEMA)
    assert read_outside_rows(data, SCHEMA, "here") == pa.concat_tables(TABLES)
    assert read_outside_rows(write_tables([], SCHEMA), SCHEMA, "here").num_rows == 0


def test_one_text_that_comes_many_times_is_counted_and_refused_before_it_is_made() -> None:
    rows = 20_000
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), ["x" * 1_000_000])
    sink = io.BytesIO()
    bomb = pa.table({"key": texts, "number": pa.array([0] * rows, pa.int32())})
    pq.write_table(bomb, sink, compression="zstd", store_schema=False)
    assert len(sink.getvalue()) < 2000
    before = pa.total_allocated_bytes()
    with pytest.raises(ArtifactError, match=r"^here: its \d+ bytes hold more than \d{8,}"):
        read_outside_rows(sink.getvalue(), SCHEMA, "here")
    assert pa.total_allocated_bytes() - before < 1 << 26


def test_a_row_that_lacks_a_value_is_told() -> None:
    for column in ("key", "number"):
        rows: dict[str, list[object]] = {"key": ["a", "b"], "number": [1, 2]}
        gap = pa.table(rows | {column: [None, None]}, schema=SCHEMA)
        with pytest.raises(ArtifactError, match=r"^here: a row lacks a value$"):
            read_outside_rows(write_tables([gap], SCHEMA), SCHEMA, "here")


def test_damaged_bytes_are_refused_or_are_rows() -> None:
    whole = write_tables([table(*(f"key {number}" for number in range(50)))], SCHEMA)
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for place in random.integers(len(data), size=3):
            data[place] = random.integers(256)
        try:
            assert read_outside_rows(bytes(data), SCHEMA, "here").schema == SCHEMA
        except ArtifactError:  # and nothing else
            refused += 1
    assert refused > 200
