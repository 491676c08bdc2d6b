"""Fine-tuning's batches: samples streamed from their blocks, the next ones read while one trains.

What a batch holds depends on (seed, step) alone; of several workers each takes its own rows of every batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from pipelines.artifacts.window_samples import Block, Part, WindowSamples, blocks_of, read_block
from pipelines.engine.commits import Commit
from pipelines.engine.workspace import Artifact
from pipelines.finetuning.order import Group, SampleOrder
from pipelines.shards.read_ahead import NumberedAhead, prepared_ahead
from sppnet.arrays import Integers
from sppnet.errors import ConfigError
from sppnet.seeds import derive_seed

GROUP_BLOCKS = 24
"""Blocks whose rows are shuffled among one another; two groups of each kind are in memory at a time."""
_READERS = 16  # blocks that are read or being read at a time
_AHEAD = 4  # batches


class SampleFiles:
    """The samples of a fine-tuning's artifact.

    Args:
        artifact: The artifact.
        units: Its units that hold samples, all of them committed.
        seed: Of the orders.
    """

    def __init__(self, artifact: Artifact, units: Sequence[str], seed: int) -> None:
        self._artifact = artifact
        self._seed = seed
        commits = artifact.commits(units)
        self._commits: Mapping[str, Commit] = dict(zip(units, commits, strict=True))
        self._blocks = blocks_of(commits)

    def has(self, part: Part) -> bool:
        """Tell whether a part has any sample."""
        return bool(self._blocks[part])

    def order(self, part: Part) -> SampleOrder:
        """Return the order of a part's samples; raise `ConfigError` where there is none."""
        if not self.has(part):
            shown = "an object" if part.endswith("objects") else "background"
            raise ConfigError(f"categories: no window of the split shows {shown}; check categories, split and holdout")
        return SampleOrder(self._blocks[part], GROUP_BLOCKS, derive_seed(self._seed, part))

    def read(self, block: Block) -> WindowSamples:
        """Read a block; raise `ArtifactError` if it is missing or corrupt."""
        return read_block(self._artifact, self._commits[block.unit], block)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A group with its samples."""

    group: Group
    samples: tuple[WindowSamples, ...]


class SampleStream:
    """The samples of a part in their order; a group of blocks is at hand, and the next one is being read.

    Args:
        files: Where the samples are.
        part: Which ones.
        last: The last place that will be asked for.
    """

    def __init__(self, files: SampleFiles, part: Part, last: int) -> None:
        self._files = files
        self._order = files.order(part)
        # A group at hand holds its blocks itself: to keep as many costs nothing, and few blocks are read but once.
        self._read = lru_cache(maxsize=GROUP_BLOCKS)(files.read)
        groups = int(self._order.locate(np.array([last]))[0][0]) + 1
        self._groups = NumberedAhead(self._load, groups, ahead=2, name="sample-blocks")

    def take(self, places: Integers) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.int64]]:
        """Return vectors `[n, d]` and classes `[n]` of some places, which must not fall."""
        numbers, rows = self._order.locate(places)
        found = [self._take(number, rows[numbers == number]) for number in np.unique(numbers).tolist()]
        return np.concatenate([vectors for vectors, _ in found]), np.concatenate([labels for _, labels in found])

    def _take(self, number: int, rows: Integers) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.int64]]:
        loaded = self._groups.get(number)
        owners, own = loaded.group.owners[rows].tolist(), loaded.group.rows[rows].tolist()
        samples = [loaded.samples[owner] for owner in owners]
        vectors = np.stack([part.vectors[row] for part, row in zip(samples, own, strict=True)])
        return vectors, np.array([part.labels[row] for part, row in zip(samples, own, strict=True)], np.int64)

    def _load(self, number: int) -> _Loaded:
        group = self._order.group(number)
        samples = tuple(found.result() for _, found in prepared_ahead(group.blocks, self._read, _READERS))
        return _Loaded(group, samples)

    def close(self) -> None:
        """End the thread after the group at hand."""
        self._groups.close()


class WindowBatches:
    """A worker's rows of all batches.

    Args:
        files: Where the samples are.
        batch: Windows of a batch, over all workers.
        objects: How many of them show objects: the first ones.
        steps: Steps of the training.
        parts: Which samples show objects and which background.
        worker: This worker's rank, and how many there are.
        device: Where the batches go.
    """

    def __init__(
        self,
        files: SampleFiles,
        *,
        batch: int,
        objects: int,
        steps: int,
        parts: tuple[Part, Part] = ("objects", "background"),
        worker: tuple[int, int] = (0, 1),
        device: torch.device,
    ) -> None:
        self._sizes = (objects, batch - objects)
        self._rows = np.arange(batch)[worker[0] :: worker[1]]
        self._device = device
        ends = [size * steps - 1 for size in self._sizes]
        self._streams = [SampleStream(files, part, end) for part, end in zip(parts, ends, strict=True)]
        self._batches = NumberedAhead(self._make, steps, ahead=_AHEAD, name="window-batches")

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return this worker's rows of a step's batch: vectors `[n, bins * C]` and classes `[n]`, on the device."""
        return self._batches.get(step)

    def _make(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        objects, background = self._sizes
        shown = self._rows < objects
        places = (step * objects + self._rows[shown], step * background + self._rows[~shown] - objects)
        found = [stream.take(own) for stream, own in zip(self._streams, places, strict=True) if len(own)]
        vectors, labels = (torch.from_numpy(np.concatenate(columns)) for columns in zip(*found, strict=True))
        return vectors.to(self._device), labels.to(self._device)

    def close(self) -> None:
        """End the threads after what is at hand."""
        self._batches.close()
        for stream in self._streams:
            stream.close()
