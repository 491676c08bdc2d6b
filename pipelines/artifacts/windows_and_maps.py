"""Layouts that detection is made from: windows, maps and training examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.artifacts.parquet import open_tables, write_tables
from sppnet.arrays import Float32s, Floats
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
        ("data", pa.large_binary()),
    ]
)
_MAPS_PER_ROW_GROUP = 4


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
    """Decode windows; raise `ArtifactError` naming `where` if the bytes are something else."""
    table = open_tables(data, WINDOWS, where).read()
    rows = zip(*(table.column(name).to_pylist() for name in ("key", "width", "height")), strict=True)
    lists = table.column("windows").combine_chunks()
    return [
        WindowsRow(key, width, height, np.array(lists[i].values, dtype=np.float32).reshape(-1, 4))
        for i, (key, width, height) in enumerate(rows)
    ]


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
            "data": pa.array([row.map.tobytes() for row in rows], pa.large_binary()),
        },
        schema=MAPS,
    )


def decode_maps(data: bytes, where: str) -> Iterator[MapRow]:
    """Decode maps one row group at a time; the arrays are views of the decoded bytes and read-only."""
    file = open_tables(data, MAPS, where)
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        fields = {name: table.column(name).to_pylist() for name in MAPS.names if name != "data"}
        blobs = table.column("data").combine_chunks()
        for i, key in enumerate(fields["key"]):
            shape = (fields["height"][i], fields["width"][i], fields["channels"][i])
            array = np.frombuffer(blobs[i].as_buffer(), dtype=fields["dtype"][i]).reshape(shape)
            array.flags.writeable = False
            size = Size(fields["image_width"][i], fields["image_height"][i])
            yield MapRow(key, fields["scale"][i], size, array)
