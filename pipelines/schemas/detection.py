"""Layouts of detection: windows, maps, detections and training examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.schemas.parquet import open_tables, write_tables

FloatArray = npt.NDArray[np.floating[Any]]

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
DETECTIONS = pa.schema(
    [
        ("key", pa.string()),
        ("category", pa.string()),
        ("score", pa.float32()),
        ("x0", pa.float32()),
        ("y0", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
        ("regressed", pa.list_(pa.float32())),
    ]
)
EXAMPLES = pa.schema(
    [
        ("category", pa.string()),
        ("key", pa.string()),
        ("window", pa.int32()),
        ("score", pa.float32()),
        ("box", pa.list_(pa.float32())),
        ("target", pa.list_(pa.float32())),
        ("feature", pa.large_binary()),
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
    windows: npt.NDArray[np.float32]


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
    image_wh: tuple[int, int]
    map: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class DetectionRow:
    """One detection.

    Attributes:
        key: The image's key.
        category: The detected category.
        score: The SVM's score.
        box: The window, pixels of the original image.
        regressed: The window after box regression, or None if there was none.
    """

    key: str
    category: str
    score: float
    box: tuple[float, float, float, float]
    regressed: tuple[float, float, float, float] | None


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Training examples of one category: windows with their features.

    Attributes:
        category: The category that they are examples of or against.
        keys: `n` image keys.
        windows: `[n]` int32: index into the image's windows; negative, and different for each, for its objects.
        scores: `[n]` float32: the score at which they were taken, 0 where none.
        boxes: `[n, 4]` float32.
        targets: `[n, 4]` float32 ground-truth boxes, zeros where none.
        features: `[n, d]` float16 or float32.
    """

    category: str
    keys: tuple[str, ...]
    windows: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    boxes: npt.NDArray[np.float32]
    targets: npt.NDArray[np.float32]
    features: FloatArray

    def select(self, rows: npt.NDArray[Any]) -> Examples:
        """The rows of a mask or of indices."""
        chosen = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return Examples(
            self.category,
            tuple(self.keys[row] for row in chosen),
            self.windows[chosen],
            self.scores[chosen],
            self.boxes[chosen],
            self.targets[chosen],
            self.features[chosen],
        )

    def first_of_each_window(self) -> npt.NDArray[np.int64]:
        """Rows that are the first of their image and window, in order."""
        first: dict[tuple[str, int], int] = {}
        for row, name in enumerate(zip(self.keys, self.windows.tolist(), strict=True)):
            first.setdefault(name, row)
        return np.fromiter(first.values(), dtype=np.int64, count=len(first))


def encode_windows(rows: Sequence[WindowsRow]) -> bytes:
    """Encodes windows, one row an image."""
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
    """Decodes windows; raises `ArtifactError` naming `where` if the bytes are something else."""
    table = open_tables(data, WINDOWS, where).read()
    rows = zip(*(table.column(name).to_pylist() for name in ("key", "width", "height")), strict=True)
    lists = table.column("windows").combine_chunks()
    return [
        WindowsRow(key, width, height, np.array(lists[i].values, dtype=np.float32).reshape(-1, 4))
        for i, (key, width, height) in enumerate(rows)
    ]


def encode_maps(rows: Iterable[MapRow]) -> bytes:
    """Encodes maps, one row each, a few rows a row group."""

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
            "image_width": [row.image_wh[0] for row in rows],
            "image_height": [row.image_wh[1] for row in rows],
            "height": [row.map.shape[0] for row in rows],
            "width": [row.map.shape[1] for row in rows],
            "channels": [row.map.shape[2] for row in rows],
            "dtype": [row.map.dtype.name for row in rows],
            "data": pa.array([row.map.tobytes() for row in rows], pa.large_binary()),
        },
        schema=MAPS,
    )


def decode_maps(data: bytes, where: str) -> Iterator[MapRow]:
    """Decodes maps one row group at a time; the arrays are views of the decoded bytes and read-only."""
    file = open_tables(data, MAPS, where)
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        fields = {name: table.column(name).to_pylist() for name in MAPS.names if name != "data"}
        blobs = table.column("data").combine_chunks()
        for i, key in enumerate(fields["key"]):
            shape = (fields["height"][i], fields["width"][i], fields["channels"][i])
            array = np.frombuffer(blobs[i].as_buffer(), dtype=fields["dtype"][i]).reshape(shape)
            array.flags.writeable = False
            wh = (fields["image_width"][i], fields["image_height"][i])
            yield MapRow(key, fields["scale"][i], wh, array)


def encode_detections(rows: Sequence[DetectionRow]) -> bytes:
    """Encodes detections, one row each."""
    boxes = np.array([row.box for row in rows], dtype=np.float32).reshape(-1, 4)
    columns = {
        "key": [row.key for row in rows],
        "category": [row.category for row in rows],
        "score": np.array([row.score for row in rows], dtype=np.float32),
        **{name: boxes[:, i] for i, name in enumerate(("x0", "y0", "x1", "y1"))},
        "regressed": pa.array([row.regressed for row in rows], DETECTIONS.field("regressed").type),
    }
    return write_tables([pa.table(columns, schema=DETECTIONS)], DETECTIONS)


def decode_detections(data: bytes, where: str) -> list[DetectionRow]:
    """Decodes detections."""
    columns = [column.to_pylist() for column in open_tables(data, DETECTIONS, where).read().columns]
    return [
        DetectionRow(key, category, score, (x0, y0, x1, y1), tuple(regressed) if regressed else None)
        for key, category, score, x0, y0, x1, y1, regressed in zip(*columns, strict=True)
    ]


def encode_examples(groups: Iterable[Examples]) -> bytes:
    """Encodes examples, one row group per category, so that a reader takes only its category."""

    def tables() -> Iterator[pa.Table]:
        for group in groups:
            n = len(group.keys)
            if n == 0:
                continue
            rows = np.ascontiguousarray(group.features)
            yield pa.table(
                {
                    "category": [group.category] * n,
                    "key": list(group.keys),
                    "window": group.windows.astype(np.int32),
                    "score": group.scores.astype(np.float32),
                    "box": pa.array(list(group.boxes.astype(np.float32)), EXAMPLES.field("box").type),
                    "target": pa.array(list(group.targets.astype(np.float32)), EXAMPLES.field("target").type),
                    "feature": pa.array([row.tobytes() for row in rows], pa.large_binary()),
                },
                schema=EXAMPLES.with_metadata({}),
            ).replace_schema_metadata(None)

    return write_tables(tables(), EXAMPLES)


def decode_examples(data: bytes, where: str, category: str, dtype: npt.DTypeLike = np.float16) -> Examples:
    """Decodes one category's examples; the other categories' row groups are not decompressed."""
    file = open_tables(data, EXAMPLES, where)
    found = []
    for group in range(file.num_row_groups):
        if file.read_row_group(group, columns=["category"]).column(0)[0].as_py() == category:
            found.append(file.read_row_group(group))
    table = pa.concat_tables(found) if found else EXAMPLES.empty_table()
    n = table.num_rows
    blobs = table.column("feature")
    features = (
        np.concatenate([np.frombuffer(b.as_buffer(), dtype)[None] for b in blobs]) if n else np.zeros((0, 0), dtype)
    )

    def boxes(name: str) -> npt.NDArray[np.float32]:
        return np.array(table.column(name).to_pylist(), dtype=np.float32).reshape(n, 4)

    return Examples(
        category=category,
        keys=tuple(table.column("key").to_pylist()),
        windows=table.column("window").to_numpy().astype(np.int32),
        scores=table.column("score").to_numpy().astype(np.float32),
        boxes=boxes("box"),
        targets=boxes("target"),
        features=features,
    )
