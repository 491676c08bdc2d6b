"""Layout of fine-tuning's samples: pooled windows of many images, in blocks that are read one by one.

A block is a row group, of one part: windows on objects or on background, to train on or held out. A shard's commit
tells its blocks, so that a reader knows what there is without opening a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.artifacts.packed_rows import packed_columns, unpack_columns
from pipelines.artifacts.parquet import open_data, open_tables, write_tables
from pipelines.artifacts.stepped_rows import from_steps, to_steps
from pipelines.engine.commits import Commit
from pipelines.engine.workspace import Artifact
from sppnet.arrays import Array, Bools
from sppnet.errors import ArtifactError

Part = Literal["objects", "background", "held-out objects", "held-out background"]
PARTS: tuple[Part, ...] = get_args(Part)

SAMPLES = pa.schema(
    [
        ("key", pa.string()),
        ("window", pa.int32()),
        ("label", pa.int32()),
        ("scale", pa.int32()),
        ("flipped", pa.bool_()),
        ("step", pa.float32()),
        ("length", pa.int32()),
        ("mask", pa.large_binary()),
        ("nonzeros", pa.large_binary()),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class WindowSamples:
    """Pooled windows.

    Attributes:
        keys: `[n]` object array of image keys.
        windows: `[n]` int32: index into the image's windows, or `-1 - i` for its i-th object.
        labels: `[n]` int32 classes, 0 for background.
        scales: `[n]` int32: the scale that was drawn; 0 where it was chosen by the window's size.
        flipped: `[n]` bool: whether the window is one of the mirrored image.
        vectors: `[n, d]` float16.
    """

    keys: npt.NDArray[np.object_]
    windows: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]
    scales: npt.NDArray[np.int32]
    flipped: Bools
    vectors: npt.NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def _columns(self) -> tuple[Array, ...]:
        return (self.keys, self.windows, self.labels, self.scales, self.flipped, self.vectors)

    def take(self, rows: Array | slice) -> WindowSamples:
        """Return some of the rows."""
        return WindowSamples(*(column[rows] for column in self._columns))

    @classmethod
    def join(cls, parts: Sequence[WindowSamples]) -> WindowSamples:
        """Put one or more sets behind one another."""
        return (
            parts[0] if len(parts) == 1 else cls(*map(np.concatenate, zip(*(p._columns for p in parts), strict=True)))
        )


@dataclass(frozen=True, slots=True)
class Block:
    """Where some samples are.

    Attributes:
        unit: The unit of the artifact.
        number: Of the row group in the unit's file.
        rows: How many there are.
    """

    unit: str
    number: int
    rows: int


def encode_samples(blocks: Iterable[WindowSamples]) -> bytes:
    """Encode samples, a row group a block; one block is taken at a time."""
    return write_tables(map(_table, blocks), SAMPLES, packed=("nonzeros",))


def _table(block: WindowSamples) -> pa.Table:
    values, steps = to_steps(block.vectors)
    masks, nonzeros = packed_columns(values)
    return pa.table(
        {
            "key": block.keys.tolist(),
            "window": block.windows,
            "label": block.labels,
            "scale": block.scales,
            "flipped": block.flipped,
            "step": steps,
            "length": np.full(len(block), values.shape[1], np.int32),
            "mask": masks,
            "nonzeros": nonzeros,
        },
        schema=SAMPLES,
    )


def blocks_of(commits: Iterable[Commit]) -> dict[Part, list[Block]]:
    """Return the blocks of each part, in the order of the commits.

    Raises:
        ArtifactError: A commit does not tell its blocks.
    """
    found: dict[Part, list[Block]] = {part: [] for part in PARTS}
    for commit in commits:
        try:
            told = [(PARTS[part], int(rows)) for part, rows in commit.metrics["blocks"]]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ArtifactError(f"commit {commit.unit} does not tell its blocks; remove it and run again") from error
        for number, (part, rows) in enumerate(told):
            found[part].append(Block(commit.unit, number, rows))
    return found


def told_blocks(blocks: Sequence[tuple[Part, int]]) -> dict[str, Any]:
    """Return what a commit tells of its blocks, each a part with its number of rows, and how many rows of each part."""
    figures: dict[str, Any] = {"blocks": [[PARTS.index(part), rows] for part, rows in blocks]}
    for part, rows in blocks:
        name = part.replace(" ", "_").replace("-", "_")
        figures[name] = figures.get(name, 0) + rows
    return figures


def read_block(artifact: Artifact, commit: Commit, block: Block) -> WindowSamples:
    """Read one block of a unit, and nothing else of it.

    Raises:
        ArtifactError: It is missing or corrupt.
    """
    where = f"{artifact.name}/{block.unit}"
    file = open_tables(open_data(artifact, commit), SAMPLES, where)
    if block.number >= file.num_row_groups or file.metadata.row_group(block.number).num_rows != block.rows:
        raise ArtifactError(f"{where}: has no block {block.number} of {block.rows} rows")
    try:
        table = file.read_row_group(block.number)
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtifactError(f"{where}: its pages can't be read ({error})") from error
    windows, labels, scales = (table.column(name).to_numpy() for name in ("window", "label", "scale"))
    flipped = table.column("flipped").to_numpy(zero_copy_only=False)
    lengths = set(table.column("length").to_pylist())
    if len(lengths) != 1:
        raise ArtifactError(f"{where}: the vectors of a block are of {len(lengths)} lengths; expected one")
    numbers = unpack_columns(table.column("mask"), table.column("nonzeros"), lengths.pop(), np.uint8, where)
    vectors = from_steps(numbers, table.column("step").to_numpy())
    return WindowSamples(np.array(table.column("key").to_pylist(), object), windows, labels, scales, flipped, vectors)
