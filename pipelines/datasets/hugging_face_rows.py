"""Rows of Hugging Face's Parquet files: an image with its label or its objects, read a row group at a time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.artifacts.parquet import open_file, read_rows
from pipelines.artifacts.parquet_pages import HeldFile
from pipelines.datasets.keys import extension_of, is_image
from pipelines.datasets.protocol import ImageFile
from sppnet.errors import ConfigError, DataError
from sppnet.outside import parse_json

BoxForm: TypeAlias = Literal["xywh", "xyxy"]
"""How boxes are told: `x, y, width, height`, or corners; pixels."""
Row: TypeAlias = Mapping[str, Any]

_GROUP_BYTES = 2 << 30
"""Most bytes of a row group, inflated: one is in memory at a time."""


@dataclass(frozen=True, slots=True)
class RowColumns:
    """Which columns hold what.

    Attributes:
        image: The image: its bytes, or a struct of `bytes` and `path`.
        label: Its class, by number or name.
        objects: Its objects: `bbox` and `category`, perhaps `area` and `iscrowd`.
        boxes: How boxes are told.
    """

    image: str
    label: str
    objects: str
    boxes: BoxForm


class RowFile:
    """A Parquet file with images.

    Args:
        data: Its bytes, or a file of which only what is needed is read.
        columns: Which columns hold what; those of labels and objects may be absent.
        where: Its place, for messages.

    Raises:
        ArtifactError: It is no Parquet file.
        ConfigError: It has no column of images, or a row group that is too large.
    """

    def __init__(self, data: bytes | io.RawIOBase, columns: RowColumns, where: str) -> None:
        self._source = HeldFile(io.BytesIO(data) if isinstance(data, bytes) else data)
        self._file = open_file(self._source, where)
        self._columns = columns
        self._where = where
        names = self._file.schema_arrow.names
        if columns.image not in names:
            raise ConfigError(f"{where}: no column {columns.image!r} of images; it has: {', '.join(names)[:200]}")
        self._kept = [name for name in (columns.image, columns.label, columns.objects) if name in names]
        meta = self._file.metadata
        self.sizes = [meta.row_group(group).num_rows for group in range(meta.num_row_groups)]
        largest = max((meta.row_group(group).total_byte_size for group in range(len(self.sizes))), default=0)
        if largest > _GROUP_BYTES:
            raise ConfigError(
                f"{where}: a row group of {largest} bytes, the limit is {_GROUP_BYTES}: write smaller ones"
            )

    def rows(self, group: int) -> list[dict[str, Any]]:
        """Read a row group; raise `ArtifactError` for damage, and where it holds too much."""
        return read_rows(self._file, self._source, group, self._kept, self._where, _GROUP_BYTES)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names behind the numbers of categories, of the column that is used; empty where the file has none."""
        text = (self._file.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
        try:
            told = parse_json(text, ConfigError)
        except ConfigError:  # other programs' notes: numbers stay numbers
            return ()
        for part in ("info", "features"):
            told = told.get(part) if isinstance(told, dict) else None
        column = self._columns.objects if self._columns.objects in self._kept else self._columns.label
        return _class_names(told.get(column) if isinstance(told, dict) else None)


def _class_names(feature: Any, depth: int = 8) -> tuple[str, ...]:
    """Find a `ClassLabel` in a column's feature, however it is nested."""
    if not depth or not isinstance(feature, dict | list):
        return ()
    if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list):
        return tuple(map(str, feature["names"]))
    parts = feature.values() if isinstance(feature, dict) else feature
    return next(filter(None, (_class_names(part, depth - 1) for part in parts)), ())


def image_of_row(row: Row, columns: RowColumns, key: str) -> ImageFile:
    """Return a row's image; raise `DataError("missing-image")` where it has no bytes."""
    cell = row.get(columns.image)
    data, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    if not isinstance(data, bytes) or not data:
        raise DataError("missing-image", f"{key}: the row has no bytes of an image{f', only {path!r}' if path else ''}")
    told = str(path).rpartition(".")[2].lower() if path and is_image(str(path)) else None
    return ImageFile(data, told or extension_of(data))


def annotation_of_row(
    row: Row, columns: RowColumns, classes: Sequence[str], key: str, width: int, height: int
) -> ImageAnnotation:
    """Return what a row says of its image: its objects, else one of its class that covers it, else nothing.

    Args:
        row: The row.
        columns: Which columns hold what.
        classes: Names behind numbers, see `RowFile.classes`.
        key: The image's key.
        width: Of the image, pixels.
        height: Likewise.

    Raises:
        DataError: `bad-annotation`, `unknown-category`.
    """
    if columns.objects in row:
        things = tuple(_object(entry, columns.boxes, classes, key) for entry in _entries(row[columns.objects], key))
    elif row.get(columns.label) is not None:
        whole = (0.0, 0.0, float(width), float(height))
        things = (ObjectAnnotation(_category(row[columns.label], classes, key), whole),)
    else:
        things = ()
    return ImageAnnotation(key, width, height, things)


def _entries(cell: Any, key: str) -> list[dict[str, Any]]:
    """Return a cell's objects, which are a list of structs or a struct of lists."""
    if isinstance(cell, dict):
        columns = {name: values for name, values in cell.items() if isinstance(values, list)}
        lengths = {len(values) for values in columns.values()}
        if len(lengths) > 1:
            raise DataError("bad-annotation", f"{key}: its objects' columns differ in length")
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [entry if isinstance(entry, dict) else {} for entry in cell or ()]


def _object(entry: Mapping[str, Any], form: BoxForm, classes: Sequence[str], key: str) -> ObjectAnnotation:
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(type(edge) in (int, float) for edge in box):
        raise DataError("bad-annotation", f"{key}: an object has no bbox of four numbers")
    x0, y0, x1, y1 = map(float, box)
    if form == "xywh":
        x1, y1 = x0 + x1, y0 + y1
    crowd, area = bool(entry.get("iscrowd", False)), entry.get("area", -1.0)
    return ObjectAnnotation(
        _category(entry.get("category"), classes, key),
        (x0, y0, x1, y1),
        difficult=crowd,
        crowd=crowd,
        area=float(area) if isinstance(area, int | float) and 0 <= area < float("inf") else None,
    )


def _category(value: Any, classes: Sequence[str], key: str) -> str:
    if isinstance(value, str) and value:
        return value
    if type(value) is not int:
        raise DataError("bad-annotation", f"{key}: {value!r} is no category")
    if not classes:
        return str(value)
    if not 0 <= value < len(classes):
        raise DataError("unknown-category", f"{key}: class {value}; there are 0 to {len(classes) - 1}")
    return classes[value]
