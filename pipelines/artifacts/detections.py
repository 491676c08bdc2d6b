"""Layout of detections, one row each: as rows for people, as columns for everything that is large."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.artifacts.parquet import open_tables, stream_tables, write_tables
from sppnet.arrays import Array, Bools, Float32s
from sppnet.errors import ArtifactError

_CORNERS = ("x0", "y0", "x1", "y1")

DETECTIONS = pa.schema(
    [
        ("key", pa.string()),
        ("category", pa.string()),
        ("score", pa.float32()),
        *((corner, pa.float32()) for corner in _CORNERS),
        ("regressed", pa.list_(pa.float32())),
    ]
)

_FILE = pa.field("file", pa.string())
"""The name of an image's file, where a file of detections is for other programs."""

Box = tuple[float, float, float, float]


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
    box: Box
    regressed: Box | None


@dataclass(frozen=True, slots=True, eq=False)
class DetectionTable:
    """Detections as columns.

    Attributes:
        keys: Keys of images.
        categories: Categories.
        image: int32 `[n]`, indices into `keys`.
        category: int32 `[n]`, indices into `categories`.
        scores: float32 `[n]`.
        boxes: float32 `[n, 4]`, the windows, pixels of the original images.
        regressed: float32 `[n, 4]`, the windows after box regression; rows of NaN where there was none.
    """

    keys: tuple[str, ...]
    categories: tuple[str, ...]
    image: npt.NDArray[np.int32]
    category: npt.NDArray[np.int32]
    scores: Float32s
    boxes: Float32s
    regressed: Float32s

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def has_regressed(self) -> Bools:
        """Bool `[n]`: where a window was regressed."""
        return ~np.isnan(self.regressed[:, 0])

    def select(self, rows: Array) -> DetectionTable:
        """Return the detections at an index array or mask."""
        columns: tuple[Array, ...] = (self.image, self.category, self.scores, self.boxes, self.regressed)
        return DetectionTable(self.keys, self.categories, *(column[rows] for column in columns))

    def rows(self) -> Iterator[DetectionRow]:
        """Yield the detections one by one."""
        columns = (self.image, self.category, self.scores, self.boxes, self.regressed, self.has_regressed)
        for image, category, score, box, better, moved in zip(*(c.tolist() for c in columns), strict=True):
            regressed = cast(Box, tuple(better)) if moved else None
            yield DetectionRow(self.keys[image], self.categories[category], score, tuple(box), regressed)


def encode_detection_table(table: DetectionTable, called: Callable[[str], str] | None = None) -> bytes:
    """Encode detections that are columns already, with a column `file` for other programs.

    Args:
        table: The detections.
        called: Returns the name of an image's file by its key; None for no such column.
    """
    return write_tables([_arrow(table, called)], _schema(called))


def write_detections(
    tables: Iterable[DetectionTable], sink: IO[bytes], called: Callable[[str], str] | None = None
) -> int:
    """Write many tables as one file, one table in memory at a time; see `encode_detection_table`.

    Returns:
        The number of rows.
    """
    rows = 0

    def encoded() -> Iterator[pa.Table]:
        nonlocal rows
        for table in tables:
            rows += len(table)
            yield _arrow(table, called)

    stream_tables(encoded(), _schema(called), sink)
    return rows


def _schema(called: Callable[[str], str] | None) -> pa.Schema:
    return DETECTIONS if called is None else DETECTIONS.append(_FILE)


def _arrow(table: DetectionTable, called: Callable[[str], str] | None) -> pa.Table:
    moved = table.has_regressed
    ends = np.concatenate([[0], np.cumsum(4 * moved)]).astype(np.int32)
    values = pa.array(np.ascontiguousarray(table.regressed[moved]).ravel())
    columns = {
        "key": _named(table.image, table.keys.__getitem__),
        "category": _named(table.category, table.categories.__getitem__),
        "score": table.scores,
        **{corner: np.ascontiguousarray(table.boxes[:, i]) for i, corner in enumerate(_CORNERS)},
        "regressed": pa.ListArray.from_arrays(pa.array(ends), values, mask=pa.array(~moved)),
    }
    if called is not None:
        columns[_FILE.name] = _named(table.image, lambda image: called(table.keys[image]))
    return pa.table(columns, schema=_schema(called))


def _named(codes: npt.NDArray[np.int32], name: Callable[[int], str]) -> pa.Array:
    """Return names by their numbers, without touching the others: a split may have millions of keys."""
    used, places = np.unique(codes, return_inverse=True)
    known = pa.array([name(code) for code in used.tolist()], pa.string())
    return pa.DictionaryArray.from_arrays(places.astype(np.int32), known).dictionary_decode()


def decode_detections(data: bytes, where: str) -> list[DetectionRow]:
    """Decode detections; raise `ArtifactError` naming `where` if the bytes are something else."""
    return list(decode_detection_table(data, where).rows())


def decode_detection_table(data: bytes, where: str) -> DetectionTable:
    """Decode detections as columns; raise `ArtifactError` naming `where` if the bytes are something else."""
    table = open_tables(data, DETECTIONS, where, also=_FILE).read().combine_chunks()
    image, keys = _codes(table, "key")
    category, categories = _codes(table, "category")
    lists = _one(table, "regressed")
    regressed = np.full((table.num_rows, 4), np.nan, dtype=np.float32)
    if lists.null_count < table.num_rows:
        moved = lists.is_valid().to_numpy(zero_copy_only=False)
        values = lists.flatten().to_numpy(zero_copy_only=False)
        if len(values) != 4 * np.count_nonzero(moved):
            raise ArtifactError(f"{where}: a regressed box has not four edges")
        regressed[moved] = values.reshape(-1, 4)
    boxes = [_one(table, corner).to_numpy(zero_copy_only=False) for corner in _CORNERS]
    scores = _one(table, "score").to_numpy(zero_copy_only=False)
    return DetectionTable(keys, categories, image, category, scores, np.stack(boxes, axis=1), regressed)


def _one(table: pa.Table, column: str) -> pa.Array:
    """Return a column as one array; an empty table has none."""
    return pa.concat_arrays(table.column(column).chunks) if table.num_rows else DETECTIONS.empty_table()[column]


def _codes(table: pa.Table, column: str) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    if table.num_rows == 0:
        return np.zeros(0, np.int32), ()
    coded = _one(table, column).dictionary_encode()
    return coded.indices.to_numpy(zero_copy_only=False).astype(np.int32), tuple(coded.dictionary.to_pylist())
