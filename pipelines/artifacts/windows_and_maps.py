"""Layouts that detection is made from: windows, maps and training examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.artifacts.map_codec import PackedMap, pack_map, unpack_map
from pipelines.artifacts.parquet import (
    binary_column,
    open_tables,
    read_groups,
    read_outside_rows,
    write_tables,
)
from sppnet.arrays import Float32s, Floats, Pixels
from sppnet.errors import ArtifactError
from sppnet.sizes import Size

WINDOWS = pa.schema(
    [("key", pa.string()), ("width", pa.int32()), ("height", pa.int32()), ("windows", pa.list_(pa.float32()))]
)
MAPS = pa.schema(
    [
        ("key", pa.string()),
        ("scale", pa.int32()),
        ("image_width", pa.int32()),
        ("image_height", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("channels", pa.int32()),
        ("dtype", pa.string()),
        ("mask", pa.large_binary()),
        ("nonzeros", pa.large_binary()),
    ]
)
_MAPS_PER_ROW_GROUP = 4
_SHOWN = 100


@dataclass(frozen=True, slots=True, eq=False)
class WindowsRow:
    """The windows of one image.

    Attributes:
        key: The image's key.
        width: Image width in pixels.
        height: Image height in pixels.
        windows: `[n, 4]` float32, 0-based half-open pixels.
    """

    key: str
    width: int
    height: int
    windows: Float32s


@dataclass(frozen=True, slots=True, eq=False)
class MapRow:
    """The map of one image at one scale.

    Attributes:
        key: The image's key.
        scale: Short side in pixels that the image was resized to.
        image_wh: Width and height of the original image in pixels.
        map: `[H, W, C]`, non-negative, float16 or float32.
    """

    key: str
    scale: int
    image_wh: Size
    map: Floats


def encode_windows(rows: Sequence[WindowsRow]) -> bytes:
    """Encode windows, one row an image."""
    columns = {
        "key": [row.key for row in rows],
        "width": [row.width for row in rows],
        "height": [row.height for row in rows],
        "windows": pa.array(
            [row.windows.astype(np.float32).ravel() for row in rows], type=WINDOWS.field("windows").type
        ),
    }
    return write_tables([pa.table(columns, schema=WINDOWS)], WINDOWS)


def decode_windows(data: bytes, where: str) -> list[WindowsRow]:
    """Decode windows; raise `ArtifactError` naming `where` if the bytes are something else.

    They may be from outside; see `read_outside_rows`.
    """
    table = read_outside_rows(data, WINDOWS, where)
    rows = zip(*(table.column(name).to_pylist() for name in ("key", "width", "height")), strict=True)
    lists = table.column("windows").combine_chunks()
    found = []
    for (key, width, height), numbers in zip(rows, lists, strict=True):
        values = np.array(numbers.values, dtype=np.float32)
        if values.size % 4:
            raise ArtifactError(f"{where}: the windows of {key[:_SHOWN]!r} are {values.size} numbers, not 4 each")
        found.append(WindowsRow(key, width, height, values.reshape(-1, 4)))
    return found


def encode_maps(rows: Iterable[MapRow]) -> bytes:
    """Encode maps, one row each, a few rows a row group."""

    def tables() -> Iterator[pa.Table]:
        group: list[MapRow] = []
        for row in rows:
            group.append(row)
            if len(group) == _MAPS_PER_ROW_GROUP:
                yield _maps_table(group)
                group = []
        if group:
            yield _maps_table(group)

    return write_tables(tables(), MAPS)


def _maps_table(rows: Sequence[MapRow]) -> pa.Table:
    packed = [pack_map(row.map) for row in rows]
    return pa.table(
        {
            "key": [row.key for row in rows],
            "scale": [row.scale for row in rows],
            "image_width": [row.image_wh.width for row in rows],
            "image_height": [row.image_wh.height for row in rows],
            "height": [row.map.shape[0] for row in rows],
            "width": [row.map.shape[1] for row in rows],
            "channels": [row.map.shape[2] for row in rows],
            "dtype": [row.map.dtype.name for row in rows],
            "mask": _column([each.mask for each in packed]),
            "nonzeros": _column([each.nonzeros for each in packed]),
        },
        schema=MAPS,
    )


def _column(parts: Sequence[Pixels]) -> pa.LargeBinaryArray:
    return binary_column(np.concatenate(parts), np.array([part.size for part in parts]))


def decode_maps(data: bytes, where: str) -> Iterator[MapRow]:
    """Decode maps one row group at a time; the arrays are read-only.

    Raises:
        ArtifactError: The bytes are something else, or damaged; the message names `where`.
    """
    file = open_tables(data, MAPS, where)
    for group in range(file.num_row_groups):
        table = read_groups(file, [group], where)
        names = ("key", "scale", "image_width", "image_height", "height", "width", "channels", "dtype")
        blobs = [table.column(name).combine_chunks() for name in ("mask", "nonzeros")]
        for i, values in enumerate(zip(*(table.column(name).to_pylist() for name in names), strict=True)):
            key, scale, image_width, image_height, *shape, dtype = values
            packed = PackedMap(*(np.frombuffer(blob[i].as_buffer(), np.uint8) for blob in blobs))
            try:
                array = unpack_map(packed, (shape[0], shape[1], shape[2]), dtype)
            except ArtifactError as error:
                raise ArtifactError(f"{where}: the map of {key} is damaged ({error})") from error
            array.flags.writeable = False
            yield MapRow(key, scale, Size(image_width, image_height), array)
