"""Pages' own sizes: those of real files add up to the footer's, and small files that claim gigabytes are refused."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.artifacts.parquet import _spans, read_outside_rows, read_rows
from pipelines.artifacts.parquet_pages import HeldFile, inflated_pages
from sppnet.errors import ArtifactError

SCHEMA = pa.schema([("key", pa.string()), ("x", pa.float32())])


def written(table: pa.Table, **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def numbers(rows: int = 5000) -> pa.Table:
    rng = np.random.default_rng(1)
    keys = [f"key {number % 90}" for number in range(rows)]
    return pa.table({"key": keys, "x": rng.random(rows, np.float32)}, schema=SCHEMA)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["zstd", "snappy", "none"])
@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize("statistics", [True, False])
def test_every_page_is_found(version: str, compression: str, dictionary: bool, statistics: bool) -> None:
    """A column's total in the footer is that of its pages and their headers, inflated."""
    data = written(
        numbers(),
        compression=compression,
        use_dictionary=dictionary,
        data_page_version=version,
        data_page_size=2000,
        row_group_size=2000,
        write_batch_size=100,
        write_statistics=statistics,
        write_page_checksum=True,
    )
    file = pq.ParquetFile(io.BytesIO(data))
    for group in range(file.metadata.num_row_groups):
        total = sum(file.metadata.row_group(group).column(place).total_uncompressed_size for place in range(2))
        pages = list(inflated_pages(HeldFile(io.BytesIO(data)), _spans(file, group, None)))
        assert len(pages) >= 4
        assert sum(pages) < total < sum(pages) + 200 * len(pages)  # headers are no larger
        one = list(inflated_pages(HeldFile(io.BytesIO(data)), _spans(file, group, ["x"])))
        assert 0 < len(one) < len(pages)


def bomb(size: int) -> bytes:
    """One text that is all the same letter."""
    table = pa.table({"key": ["a" * size], "x": np.zeros(1, np.float32)}, schema=SCHEMA)
    return written(table, compression="zstd", use_dictionary=False, write_statistics=False)


def test_a_page_that_inflates_to_too_much_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bomb(100 << 20)
    assert len(data) < 50_000

    def read(*_: object) -> None:
        raise AssertionError("Arrow has made room for it")

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", read)
    with pytest.raises(ArtifactError, match=r"^here: its pages claim more than \d+ bytes$"):
        read_outside_rows(data, SCHEMA, "here")


def test_a_row_group_is_bounded_by_its_pages_and_by_its_rows() -> None:
    def rows(data: bytes, most: int) -> list[dict[str, object]]:
        source = HeldFile(io.BytesIO(data))
        return read_rows(pq.ParquetFile(source), source, 0, ["key", "x"], "here", most)

    assert rows(written(numbers()), 1 << 20) == numbers().to_pylist()
    with pytest.raises(ArtifactError, match="its pages claim more than 1000000 bytes"):
        rows(bomb(2_000_000), 1_000_000)
    table = pa.table({"key": ["a" * 10_000] * 1000, "x": np.zeros(1000, np.float32)}, schema=SCHEMA)
    repeated = written(table, use_dictionary=True)  # the text is there once, and comes a thousand times
    assert len(repeated) < 5000
    with pytest.raises(ArtifactError, match="a row group holds more than 1000000 bytes; write smaller ones"):
        rows(repeated, 1_000_000)


@settings(max_examples=150)
@given(st.data())
def test_whatever_the_bytes_are_the_walk_ends_or_says_no(draw: st.DataObject) -> None:
    data = bytearray(written(numbers(50), compression="zstd", use_dictionary=False))
    spans = _spans(pq.ParquetFile(io.BytesIO(bytes(data))), 0, None)
    for _ in range(draw.draw(st.integers(1, 6))):
        data[draw.draw(st.integers(4, 400))] = draw.draw(st.integers(0, 255))
    with suppress(ValueError):  # of all that there is to raise
        assert all(size >= 0 for size in inflated_pages(HeldFile(io.BytesIO(bytes(data))), spans))


def test_a_held_part_is_read_once() -> None:
    class Counted(io.BytesIO):
        reads = 0

        def read(self, size: int = -1) -> bytes:
            self.reads += 1
            return super().read(size)

    file = Counted(bytes(range(100)))
    held = HeldFile(file)
    assert bytes(held.hold(10, 50)) == bytes(range(10, 50))
    held.seek(20)
    assert (held.read(5), held.tell(), file.reads) == (bytes(range(20, 25)), 25, 1)
    held.seek(5, io.SEEK_CUR)
    assert (held.read(20), file.reads) == (bytes(range(30, 50)), 1)
    assert (held.read(3), file.reads) == (bytes(range(50, 53)), 2)
    assert (held.seek(-2, io.SEEK_END), held.read()) == (98, bytes([98, 99]))
