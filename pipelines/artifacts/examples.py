"""Layout of training examples: windows with their features, sorted by category; small categories share a row group."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from pipelines.artifacts.packed_rows import packed_columns, unpack_columns
from pipelines.artifacts.parquet import open_data, open_tables, read_groups, write_tables
from pipelines.artifacts.stepped_rows import as_floats
from pipelines.engine.workspace import Artifact
from sppnet.arrays import Array, Float32s, Floats, Integers
from sppnet.errors import ArtifactError, DataError

EXAMPLES = pa.schema(
    [
        ("category", pa.string()),
        ("key", pa.string()),
        ("window", pa.int32()),
        ("score", pa.float32()),
        ("box", pa.list_(pa.float32())),
        ("target", pa.list_(pa.float32())),
        ("dtype", pa.string()),
        ("step", pa.float32()),
        ("length", pa.int32()),
        ("mask", pa.large_binary()),
        ("nonzeros", pa.large_binary()),
    ]
)
_TYPES = ("float16", "float32", "uint8")
_OF_FEATURES = ("dtype", "step", "length", "mask", "nonzeros")
_GROUP_BYTES = 1 << 20
"""Features that share a row group, at most; a third of it once they are packed."""


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
        features: `[n, d]` float16, float32, or bytes that count `steps`; `[n, 0]` where they were not read.
        steps: `[n]` float32 size of a row's steps where features are bytes; else None.
    """

    category: str
    keys: tuple[str, ...]
    windows: npt.NDArray[np.int32]
    scores: Float32s
    boxes: Float32s
    targets: Float32s
    features: Array
    steps: Float32s | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def select(self, rows: Array) -> Examples:
        """Return the rows of a mask or of indices."""
        chosen = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return Examples(
            self.category,
            tuple(self.keys[row] for row in chosen),
            self.windows[chosen],
            self.scores[chosen],
            self.boxes[chosen],
            self.targets[chosen],
            self.features[chosen],
            None if self.steps is None else self.steps[chosen],
        )

    def floats(self) -> Floats:
        """Return the features as numbers `[n, d]`: those in steps as float16."""
        return as_floats(self.features, self.steps)

    def names(self) -> list[tuple[str, int]]:
        """Return image key and window of each row: what tells it from all others of its category."""
        return list(zip(self.keys, self.windows.tolist(), strict=True))


def make_examples(
    category: str,
    key: str,
    windows: Sequence[int] | Array,
    scores: Sequence[float] | Array,
    boxes: Floats,
    features: Array,
    targets: Floats | None = None,
    steps: Float32s | None = None,
) -> Examples:
    """Make the examples of one image.

    Args:
        category: What they are examples of or against.
        key: The image's key.
        windows: `[n]` window indices, or `-1 - i` for the i-th object.
        scores: `[n]` scores or weights.
        boxes: `[n, 4]` pixels.
        features: `[n, d]`, see `Examples`.
        targets: `[n, 4]` ground-truth boxes in pixels, zeros by default.
        steps: `[n]` where features are bytes.
    """
    n = len(windows)
    return Examples(
        category=category,
        keys=(key,) * n,
        windows=np.asarray(windows, dtype=np.int32),
        scores=np.asarray(scores, dtype=np.float32),
        boxes=np.asarray(boxes, dtype=np.float32).reshape(n, 4),
        targets=np.zeros((n, 4), np.float32) if targets is None else np.asarray(targets, np.float32).reshape(n, 4),
        features=features,
        steps=steps,
    )


def join_examples(category: str, parts: Sequence[Examples]) -> Examples:
    """Put parts behind one another; they must have features of one length and type."""
    steps = [part.steps for part in parts if part.steps is not None]
    return Examples(
        category=category,
        keys=tuple(key for part in parts for key in part.keys),
        windows=np.concatenate([part.windows for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        boxes=np.concatenate([part.boxes for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
        features=np.concatenate([part.features for part in parts]),
        steps=np.concatenate(steps) if steps else None,
    )


def half_features(features: torch.Tensor) -> npt.NDArray[np.float16]:
    """Return features as they are stored.

    Raises:
        DataError: `nan-features`: one is not a finite float16 number.
    """
    values = features.to(torch.float16)
    # Pooled vectors were looked at when they were pooled, and stay what they are; wider ones may be out of range.
    if features.dtype != torch.float16 and values.numel():
        low, high = torch.aminmax(values)
        if not bool(torch.isfinite(low) & torch.isfinite(high)):
            raise DataError("nan-features", "a feature is not a finite float16 number")
    return values.cpu().numpy()


def no_examples(category: str, dimension: int) -> Examples:
    """Make examples of no rows, with features of some length."""
    return Examples(
        category=category,
        keys=(),
        windows=np.zeros(0, np.int32),
        scores=np.zeros(0, np.float32),
        boxes=np.zeros((0, 4), np.float32),
        targets=np.zeros((0, 4), np.float32),
        features=np.zeros((0, dimension), np.float16),
    )


def encode_examples(groups: Iterable[Examples]) -> bytes:
    """Encode examples, one group a category, so that a reader takes little beside its category.

    Large categories have row groups of their own. Small ones lie several in one: a row group costs as much time as
    some hundred kilobytes, both to write it and to ask a store for it.
    """
    tables = (_table(parts) for parts in _neighbours(group for group in groups if len(group)))
    return write_tables(tables, EXAMPLES, statistics=("category",), packed=("nonzeros",))


def _neighbours(groups: Iterable[Examples]) -> Iterator[list[Examples]]:
    """Yield runs of groups with features of one type and length, of `_GROUP_BYTES` at most or alone."""
    parts: list[Examples] = []
    size = 0
    for group in groups:
        if parts and (size + group.features.nbytes > _GROUP_BYTES or _kind(group) != _kind(parts[0])):
            yield parts
            parts, size = [], 0
        parts.append(group)
        size += group.features.nbytes
    if parts:
        yield parts


def _kind(group: Examples) -> tuple[np.dtype[Any], int, bool]:
    return group.features.dtype, group.features.shape[1], group.steps is None


def _table(parts: Sequence[Examples]) -> pa.Table:
    joined = join_examples("", parts) if len(parts) > 1 else parts[0]
    n = len(joined)
    masks, nonzeros = packed_columns(joined.features)
    columns = {
        "category": [part.category for part in parts for _ in part.keys],
        "key": list(joined.keys),
        "window": joined.windows.astype(np.int32),
        "score": joined.scores.astype(np.float32),
        "box": _boxes_column(joined.boxes),
        "target": _boxes_column(joined.targets),
        "dtype": [joined.features.dtype.name] * n,
        "step": np.zeros(n, np.float32) if joined.steps is None else joined.steps,
        "length": np.full(n, joined.features.shape[1], np.int32),
        "mask": masks,
        "nonzeros": nonzeros,
    }
    return pa.table(columns, schema=EXAMPLES)


def _boxes_column(boxes: Float32s) -> pa.ListArray:
    starts = np.arange(len(boxes) + 1, dtype=np.int32) * 4
    return pa.ListArray.from_arrays(starts, boxes.astype(np.float32).ravel(), EXAMPLES.field("box").type)


class ExamplesFile:
    """Encoded examples, of which only the categories that are asked for are read.

    Args:
        data: The bytes, or a file of them, of which only the parts that are needed are read.
        where: What it is, for messages.

    Raises:
        ArtifactError: The bytes are something else.
    """

    def __init__(self, data: bytes | io.RawIOBase, where: str) -> None:
        self._file = open_tables(data, EXAMPLES, where)
        self._where = where
        groups = [self._file.metadata.row_group(number).column(0) for number in range(self._file.num_row_groups)]
        self._spans = [(group.statistics.min, group.statistics.max) if group.statistics else None for group in groups]

    def read(self, categories: Sequence[str], *, features: bool = True) -> list[Examples]:
        """Read several categories' examples with one pass over their row groups.

        Args:
            categories: Names; one that has no row is left out of the result.
            features: Whether to read the features too: without them next to nothing is read.

        Returns:
            One for each category that has rows, in the order of the file.
        """
        wanted = set(categories)
        groups = [number for number, span in enumerate(self._spans) if span is None or _any_between(wanted, *span)]
        if not groups:
            return []
        names = [name for name in EXAMPLES.names if features or name not in _OF_FEATURES]
        table = read_groups(self._file, groups, self._where, names)
        labels = np.array(table.column("category").to_pylist(), dtype=object)
        found = (name for name in dict.fromkeys(labels.tolist()) if name in wanted)
        return [self._examples(name, table, np.flatnonzero(labels == name)) for name in found]

    def _examples(self, category: str, table: pa.Table, rows: Integers) -> Examples:
        first, count = int(rows[0]), len(rows)
        together = int(rows[-1]) - first == count - 1
        own = table.slice(first, count) if together else table.take(pa.array(rows))  # a slice copies nothing
        n = own.num_rows
        values, steps = self._features(own) if "mask" in own.column_names else (np.zeros((n, 0), np.float16), None)

        def boxes(name: str) -> Float32s:
            column = own.column(name).combine_chunks()
            return np.asarray(column.flatten(), dtype=np.float32).reshape(n, 4)

        return Examples(
            category=category,
            keys=tuple(own.column("key").to_pylist()),
            windows=own.column("window").to_numpy().astype(np.int32),
            scores=own.column("score").to_numpy().astype(np.float32),
            boxes=boxes("box"),
            targets=boxes("target"),
            features=values,
            steps=steps,
        )

    def _features(self, table: pa.Table) -> tuple[Array, Float32s | None]:
        kinds = set(zip(*(table.column(name).to_pylist() for name in ("dtype", "length")), strict=True))
        if len(kinds) > 1:
            raise ArtifactError(f"{self._where}: its features are of several types or lengths")
        ((dtype, length),) = kinds
        if dtype not in _TYPES:
            raise ArtifactError(f"{self._where}: its features are of type {dtype}; expected {' or '.join(_TYPES)}")
        values = unpack_columns(table.column("mask"), table.column("nonzeros"), length, dtype, self._where)
        return values, table.column("step").to_numpy() if dtype == "uint8" else None


def _any_between(names: Iterable[str], least: str, greatest: str) -> bool:
    """Tell whether a row group with such names at its ends, by their bytes, may hold one of some."""
    low, high = least.encode(), greatest.encode()
    return any(low <= name.encode() <= high for name in names)


def open_examples(artifact: Artifact, unit: str) -> ExamplesFile:
    """Open a unit's examples; its bytes are fetched as they are read."""
    commit = artifact.commit(unit)
    return ExamplesFile(open_data(artifact, commit), f"{artifact.name}/{unit}")
