"""Rows of images with the objects found in them, in Parquet as Hugging Face's `datasets` writes and loads it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO

import pyarrow as pa

from pipelines.artifacts.parquet import stream_tables
from sppnet.sizes import Size


@dataclass(frozen=True, slots=True, eq=False)
class ObjectsRow:
    """An image and what was found in it.

    Attributes:
        name: Of its file.
        data: The file's bytes.
        size: In pixels.
        objects: Of each the category's number from 0, the score, and `[x, y, width, height]` in pixels.
    """

    name: str
    data: bytes
    size: Size
    objects: Sequence[tuple[int, float, Sequence[float]]]


def write_object_rows(groups: Iterable[Sequence[ObjectsRow]], categories: Sequence[str], sink: IO[bytes]) -> None:
    """Write rows as a Parquet file, one group in memory at a time.

    Args:
        groups: Rows, a row group each.
        categories: The names behind the numbers; they are in the file.
        sink: The open file.
    """
    schema = _schema(categories)
    stream_tables((pa.Table.from_pylist([_row(one) for one in rows], schema) for rows in groups), schema, sink)


def _row(row: ObjectsRow) -> dict[str, object]:
    numbers, scores, boxes = zip(*row.objects, strict=True) if row.objects else ((), (), ())
    return {
        "image": {"bytes": row.data, "path": row.name},
        "width": row.size.width,
        "height": row.size.height,
        "objects": {"bbox": boxes, "category": numbers, "score": scores},
    }


def _schema(categories: Sequence[str]) -> pa.Schema:
    """Return the columns, with what `datasets` takes them for; lists as all of its versions read them."""
    objects = {
        "bbox": pa.list_(pa.list_(pa.float32())),
        "category": pa.list_(pa.int64()),
        "score": pa.list_(pa.float32()),
    }
    number, whole = {"dtype": "float32", "_type": "Value"}, {"dtype": "int32", "_type": "Value"}
    told = {
        "image": {"_type": "Image"},
        "width": whole,
        "height": whole,
        "objects": {
            "bbox": [[number]],
            "category": [{"names": list(categories), "_type": "ClassLabel"}],
            "score": [number],
        },
    }
    fields = [
        pa.field("image", pa.struct({"bytes": pa.binary(), "path": pa.string()})),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("objects", pa.struct(objects)),
    ]
    return pa.schema(fields, {"huggingface": json.dumps({"info": {"features": told}})})
