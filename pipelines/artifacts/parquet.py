"""Parquet as every layout uses it: little-endian bytes in `large_binary`, zstd, no dictionaries."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.artifacts.parquet_pages import HeldFile, PlacedFile, inflated_pages
from pipelines.engine.checked_reads import read_again_unless
from pipelines.engine.commits import COMMITS, Commit
from pipelines.engine.store import Store
from pipelines.engine.workspace import Artifact
from sppnet.arrays import Integers, Pixels
from sppnet.errors import ArtifactError
from sppnet.outside import most_inflated

_DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What Arrow raises for bytes that are no whole Parquet file."""

_LEAST_BYTES = 4
"""Of a value in memory, if it is a number or a text's place in a dictionary."""
_ROWS = 1024


def write_tables(
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    statistics: tuple[str, ...] = (),
    packed: tuple[str, ...] | None = None,
) -> bytes:
    """Encode tables, one row group or more each.

    Args:
        tables: In order.
        schema: Of all of them.
        statistics: Columns whose least and greatest value of each row group are kept, so that a reader can choose.
        packed: Columns that are worth compressing; None for all. A compressor's start alone takes a few microseconds
            a column and row group.
    """
    sink = pa.BufferOutputStream()
    stream_tables(tables, schema, sink, statistics, packed)
    return bytes(sink.getvalue().to_pybytes())


def stream_tables(
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    sink: IO[bytes] | pa.BufferOutputStream,
    statistics: tuple[str, ...] = (),
    packed: tuple[str, ...] | None = None,
) -> None:
    """Write tables to an open file, as `write_tables` does; one table is in memory at a time."""
    with pq.ParquetWriter(
        sink,
        schema,
        compression="zstd" if packed is None else dict.fromkeys(packed, "zstd"),  # all others are left as they are
        compression_level=1 if packed is None else dict.fromkeys(packed, 1),
        use_dictionary=False,
        write_statistics=list(statistics) or False,
        write_page_checksum=True,
    ) as writer:
        for table in tables:
            writer.write_table(table)


def open_file(data: bytes | io.RawIOBase, where: str) -> pq.ParquetFile:
    """Open a Parquet file, whole or, from a file, only those parts that are then read.

    Raises:
        ArtifactError: The bytes are something else; the message names `where`.
    """
    try:
        if isinstance(data, bytes):
            file = pq.ParquetFile(pa.BufferReader(data))
        else:  # parts of an object can't be checked against its digest: pages carry their own sums
            file = pq.ParquetFile(pa.PythonFile(data, mode="r"), pre_buffer=True, page_checksum_verification=True)
        _ = file.schema_arrow
    except _DAMAGED as error:
        raise ArtifactError(f"{where}: not a Parquet file ({_told(error)})") from error
    return file


def open_tables(
    data: bytes | io.RawIOBase, schema: pa.Schema, where: str, also: pa.Field | None = None
) -> pq.ParquetFile:
    """Open what `write_tables` gave.

    Args:
        data: The bytes, or the open file.
        schema: Of its tables.
        where: What it is, for messages.
        also: A column that may stand behind the others.

    Raises:
        ArtifactError: The bytes are something else, or of other columns; the message names `where`.
    """
    file = open_file(data, where)
    found = file.schema_arrow
    if not (found.equals(schema) or (also is not None and found.equals(schema.append(also)))):
        columns, expected = (", ".join(f"{f.name} {f.type}" for f in s) for s in (found, schema))
        raise ArtifactError(f"{where}: columns are {columns}; expected {expected}")
    return file


def count_rows(data: io.RawIOBase, where: str) -> int:
    """Return the rows of a Parquet file by its footer; raise `ArtifactError` naming `where` if it is none."""
    return int(open_file(data, where).metadata.num_rows)


def _told(error: Exception) -> str:
    """Return what Arrow says in one line."""
    return " ".join(str(error).split())


def binary_column(data: Pixels, sizes: Integers) -> pa.LargeBinaryArray:
    """Return rows of bytes that lie behind one another in `data`, each of its size, without a copy."""
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(sizes), buffers)


def read_rows(
    file: pq.ParquetFile, source: HeldFile, group: int, columns: Sequence[str], where: str, most: int
) -> list[dict[str, Any]]:
    """Read a row group of a file that another program wrote, as plain values; None where a value is missing.

    Args:
        file: The file.
        source: What it was opened on.
        group: The row group's number.
        columns: Those to read.
        where: What it is, for messages.
        most: Bytes that its rows, and its pages, may have once they are inflated.

    Raises:
        ArtifactError: Pages are damaged, or it has more; the message names `where`.
    """
    largest = check_pages(file, source, [group], where, most, columns)
    rows: list[dict[str, Any]] = []
    held, batch_rows = 0, min(_ROWS, max(1, most // max(1, largest)))
    try:
        for batch in file.iter_batches(batch_rows, row_groups=[group], columns=list(columns)):
            held += batch.nbytes
            if held > most:
                raise ArtifactError(f"{where}: a row group holds more than {most} bytes; write smaller ones")
            rows += batch.to_pylist()
    except _DAMAGED as error:
        raise ArtifactError(f"{where}: its pages can't be read ({_told(error)})") from error
    return rows


def _spans(file: pq.ParquetFile, group: int, columns: Sequence[str] | None) -> list[tuple[int, int]]:
    """Return where the pages of a row group's columns begin and end."""
    row_group = file.metadata.row_group(group)
    chunks = [row_group.column(place) for place in range(row_group.num_columns)]
    wanted = [one for one in chunks if columns is None or one.path_in_schema.split(".")[0] in columns]
    starts = [min(one.data_page_offset, one.dictionary_page_offset or one.data_page_offset) for one in wanted]
    return [(start, start + one.total_compressed_size) for start, one in zip(starts, wanted, strict=True)]


def check_pages(
    file: pq.ParquetFile,
    source: HeldFile,
    groups: Iterable[int],
    where: str,
    most: int,
    columns: Sequence[str] | None = None,
) -> int:
    """Raise `ArtifactError` if pages say that they inflate to more than `most` bytes; return those of the largest."""
    total = largest = 0
    try:
        for size in chain.from_iterable(inflated_pages(source, _spans(file, one, columns)) for one in groups):
            total, largest = total + size, max(largest, size)
            if total > most:
                raise ArtifactError(f"{where}: its pages claim more than {most} bytes")
    except ValueError as error:
        raise ArtifactError(f"{where}: its pages can't be read ({_told(error)})") from error
    return largest


def read_groups(
    file: pq.ParquetFile, groups: Sequence[int], where: str, columns: Sequence[str] | None = None
) -> pa.Table:
    """Read row groups of a file in which nothing is missing.

    Args:
        file: The open file.
        groups: Numbers of the row groups.
        where: What it is, for messages.
        columns: Those to read, default all.

    Raises:
        ArtifactError: Pages are damaged, or a row lacks a value; the message names `where`.
    """
    try:
        table = file.read_row_groups(groups, columns=columns)
        table.validate(full=True)
    except _DAMAGED as error:
        raise ArtifactError(f"{where}: its pages can't be read ({_told(error)})") from error
    check_whole(table, where)
    return table


def read_outside_rows(data: bytes, schema: pa.Schema, where: str) -> pa.Table:
    """Read a whole file that may be from outside: a few kilobytes that claim gigabytes are refused on the way.

    Texts are read as numbers of a dictionary, so that one long text that comes a million times costs one; rows come in
    batches, and are given up once they hold more than `most_inflated` of the file's bytes.

    Raises:
        ArtifactError: The bytes are something else or damaged, hold too much, or a row lacks a value.
    """
    opened = open_tables(data, schema, where)
    values = count_values(opened)
    if values * _LEAST_BYTES > most_inflated(len(data)):
        raise ArtifactError(f"{where}: its {len(data)} bytes claim {values} values")
    groups = range(opened.metadata.num_row_groups)
    check_pages(opened, HeldFile(io.BytesIO(data)), groups, where, most_inflated(len(data)))
    texts = [field.name for field in schema if field.type == pa.string()]
    held, batches = 0, []
    try:
        file = pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts)
        for batch in file.iter_batches(_ROWS):
            batch.validate(full=True)
            held += batch.nbytes + sum(_text_bytes(batch.column(name)) for name in texts)
            if held > most_inflated(len(data)):
                raise ArtifactError(f"{where}: its {len(data)} bytes hold more than {held} bytes")
            batches.append(batch)
        table = pa.Table.from_batches(batches, file.schema_arrow).cast(schema)
    except _DAMAGED as error:
        raise ArtifactError(f"{where}: its pages can't be read ({_told(error)})") from error
    check_whole(table, where)
    return table


def _text_bytes(column: pa.DictionaryArray) -> int:
    """Return how many bytes the texts of a column have, each as often as it comes."""
    return int(pc.sum(pc.take(pc.binary_length(column.dictionary), column.indices)).as_py() or 0)


def check_whole(table: pa.Table, where: str) -> None:
    """Raise `ArtifactError` naming `where` if a row lacks a value, or a list in one does."""
    for column in table.columns:
        inner = pc.list_flatten(column) if pa.types.is_list(column.type) else column
        if column.null_count or inner.null_count:
            raise ArtifactError(f"{where}: a row lacks a value")


class ObjectFile(PlacedFile):
    """An object of a store as a file whose parts are fetched when they are read.

    Args:
        store: The store.
        name: The object's name.
        size: Its size in bytes.
        mend: What to do where it is missing; nothing is said if it is empty.
    """

    def __init__(self, store: Store, name: str, size: int, mend: str = "") -> None:
        self._store = store
        self._name = name
        self._size = size
        self._mend = mend

    def _end(self) -> int:
        return self._size

    def read(self, size: int = -1, /) -> bytes:
        """Fetch the next bytes."""
        end = self._size if size < 0 else min(self._size, self._place + size)
        start, length = self._place, max(0, end - self._place)
        where = f"{self._store.uri}/{self._name}"
        try:
            data = read_again_unless(
                lambda found: len(found) == length, lambda: self._store.read_range(self._name, start, length), where
            )
            if len(data) != length:
                raise ArtifactError(f"{where}: {len(data)} bytes instead of {length} from byte {start} on")
        except ArtifactError as error:
            raise ArtifactError(f"{error}{self._mend and '; '}{self._mend}") from error
        self._place += length
        return data


def count_values(file: pq.ParquetFile) -> int:
    """Return how many values a file says that it has, in all columns; nothing is read."""
    groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
    return sum(group.column(place).num_values for group in groups for place in range(group.num_columns))


def open_data(artifact: Artifact, commit: Commit) -> ObjectFile:
    """Open a unit's data object, whose parts are fetched when they are read; raise `ArtifactError` if it has none."""
    if commit.data is None:
        raise ArtifactError(f"{artifact.name}/{commit.unit} has no data")
    mend = f"remove {COMMITS}/{commit.unit}.json and run again"
    return ObjectFile(artifact.store, f"{artifact.name}/{commit.data}", commit.size, mend)
