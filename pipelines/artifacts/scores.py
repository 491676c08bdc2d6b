"""Layout of classification: class scores or features of images, by view set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import IO

import numpy as np
import pyarrow as pa

from pipelines.artifacts.parquet import open_tables, stream_tables, write_tables
from pipelines.engine.records import read_beside, write_once
from pipelines.engine.workspace import Artifact
from sppnet.arrays import Floats
from sppnet.classification.views import ViewSet
from sppnet.errors import ArtifactError

SCORES = pa.schema(
    [("key", pa.string()), ("views", pa.string()), ("dtype", pa.string()), ("values", pa.large_binary())]
)


_INFO = "output.json"


@dataclass(frozen=True, slots=True)
class _StoredViews:
    name: str


@dataclass(frozen=True, slots=True)
class _StoredInfo:
    output: str
    labels: tuple[str, ...]
    dimension: int
    views: tuple[_StoredViews, ...]


@dataclass(frozen=True, slots=True)
class ScoresInfo:
    """What a `scores` artifact holds for each image and view set.

    Attributes:
        output: `scores`, or the layer that the features are of.
        labels: What the scores stand for, in order; empty for features.
        dimension: Length of a row's values.
        views: Names of the view sets, in the order of an image's rows.
    """

    output: str
    labels: tuple[str, ...]
    dimension: int
    views: tuple[str, ...]

    def write(self, scores: Artifact, sets: Mapping[str, ViewSet]) -> None:
        """Record it once in an artifact, with what the view sets are."""
        views = [{"name": name, **asdict(sets[name])} for name in self.views]
        write_once(scores, _INFO, {**asdict(self), "views": views})

    @classmethod
    def read(cls, scores: Artifact) -> ScoresInfo:
        """Read what `write` recorded; raise `ArtifactError` if it is missing or corrupt."""
        found = read_beside(_StoredInfo, scores, _INFO)
        return cls(found.output, found.labels, found.dimension, tuple(views.name for views in found.views))


@dataclass(frozen=True, slots=True, eq=False)
class ScoresRow:
    """A network's output for one image, averaged over the views of one set.

    Attributes:
        key: The image's key.
        views: Name of the view set.
        values: `[K]` softmax scores in the order of the network's labels, float32; or `[d]` features of a layer,
            float16 or float32.
    """

    key: str
    views: str
    values: Floats


def encode_scores(rows: Sequence[ScoresRow]) -> bytes:
    """Encode outputs, one row an image and view set."""
    columns = {
        "key": [row.key for row in rows],
        "views": [row.views for row in rows],
        "dtype": [row.values.dtype.name for row in rows],
        "values": pa.array([row.values.tobytes() for row in rows], pa.large_binary()),
    }
    return write_tables([pa.table(columns, schema=SCORES)], SCORES)


def decode_scores(data: bytes, where: str) -> list[ScoresRow]:
    """Decode outputs; the arrays are views of the decoded bytes and read-only.

    Raises:
        ArtifactError: The bytes are something else; the message names `where`.
    """
    table = open_tables(data, SCORES, where).read()
    keys, views, dtypes = (table.column(name).to_pylist() for name in ("key", "views", "dtype"))
    blobs = table.column("values").combine_chunks()
    try:
        found = [np.frombuffer(blobs[row].as_buffer(), dtype=dtype) for row, dtype in enumerate(dtypes)]
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{where}: a row is not of its type ({error})") from error
    for values in found:
        values.flags.writeable = False
    return [ScoresRow(*row) for row in zip(keys, views, found, strict=True)]


def encode_plain_scores(rows: Sequence[ScoresRow], labels: Sequence[str], called: Callable[[str], str]) -> bytes:
    """Encode outputs for other programs: `values` is a list, and `label` names the highest score.

    Args:
        rows: Outputs of one type.
        labels: What scores stand for, in order; empty for features, whose `label` is null.
        called: Returns the name of an image's `file` by its key.
    """
    table = _plain(rows, labels, called)
    return write_tables([table], table.schema)


def write_plain_scores(
    parts: Iterable[Sequence[ScoresRow]], labels: Sequence[str], called: Callable[[str], str], sink: IO[bytes]
) -> None:
    """Write many outputs as one file, a part in memory at a time; see `encode_plain_scores`."""
    tables = (_plain(rows, labels, called) for rows in parts if rows)
    first = next(tables, _plain([], labels, called))
    stream_tables(chain([first], tables), first.schema, sink)


def _plain(rows: Sequence[ScoresRow], labels: Sequence[str], called: Callable[[str], str]) -> pa.Table:
    dtype = pa.from_numpy_dtype(rows[0].values.dtype) if rows else pa.float32()
    sizes = np.cumsum([0, *(row.values.size for row in rows)], dtype=np.int32)
    flat = np.concatenate([row.values for row in rows]) if rows else np.zeros(0, np.float32)
    return pa.table(
        {
            "key": pa.array([row.key for row in rows], pa.string()),
            "file": pa.array([called(row.key) for row in rows], pa.string()),
            "views": pa.array([row.views for row in rows], pa.string()),
            "label": pa.array([labels[int(row.values.argmax())] if labels else None for row in rows], pa.string()),
            "values": pa.ListArray.from_arrays(sizes, pa.array(flat, dtype)),
        }
    )
