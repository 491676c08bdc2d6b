"""Layout of what a data set's files held when they were last read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from pipelines.artifacts.parquet import open_tables, write_tables
from sppnet.errors import ArtifactError

FILE_CONTENTS = pa.schema([(name, pa.string()) for name in ("kind", "place", "stamp", "value")])


class ContentRow(NamedTuple):
    """What was made of one file's bytes.

    Attributes:
        kind: What the value is, such as `sha256`.
        place: The file's place in its data set.
        stamp: The file's stamp when it was read.
        value: JSON text.
    """

    kind: str
    place: str
    stamp: str
    value: str


def encode_contents(rows: Sequence[ContentRow]) -> bytes:
    """Encode rows as Parquet."""
    columns = {name: [getattr(row, name) for row in rows] for name in FILE_CONTENTS.names}
    return write_tables([pa.table(columns, schema=FILE_CONTENTS)], FILE_CONTENTS)


def decode_contents(data: bytes, where: str) -> list[ContentRow]:
    """Decode rows; raise `ArtifactError` naming `where` if the bytes are something else or damaged."""
    file = open_tables(data, FILE_CONTENTS, where)
    try:
        table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(f"{where}: damaged ({error})") from error
    columns = (table.column(name).to_pylist() for name in FILE_CONTENTS.names)
    return [ContentRow(*row) for row in zip(*columns, strict=True)]
