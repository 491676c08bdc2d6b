"""Fine-tuning's batches: windows of many images, pooled from cached maps a chunk of batches at a time.

Every worker makes the same plan of a chunk and pools only its own slice of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from pipelines.finetuning.plans import Chunk, ChunkPlanner
from pipelines.shards.read_ahead import NumberedAhead
from pipelines.shards.windowed import ShardInputs, WindowedImage
from sppnet.arrays import Integers
from sppnet.boxes import mirror_boxes
from sppnet.pooling.geometry import Convention, Geometry
from sppnet.pooling.image_windows import pool_image_windows
from sppnet.pooling.pyramid import Pyramid


@dataclass(frozen=True, slots=True)
class WindowPooler:
    """Pools windows of many images, one shard's maps at a time.

    Attributes:
        inputs: Where the maps are; with `flips`, those of the mirrored images too.
        geometry: Of the backbone that made them.
        pyramid: The pooling levels.
        convention: Of the window mapping and the scale rule.
        device: Where to pool, and where the vectors stay.
    """

    inputs: ShardInputs
    geometry: Geometry
    pyramid: Pyramid
    convention: Convention
    device: torch.device

    def pool(self, chunk: Chunk, rows: Integers) -> torch.Tensor:
        """Pool some of a chunk's windows.

        Returns:
            `[len(rows), bins * C]` in the order of `rows`, of the maps' type.
        """
        wanted: dict[tuple[str, bool], dict[str, list[int]]] = {}
        for place, row in enumerate(rows):
            unit, key = chunk.windows.images[row]
            wanted.setdefault((unit, bool(chunk.flipped[row])), {}).setdefault(key, []).append(place)
        pooled: torch.Tensor | None = None
        for unit, flipped in sorted(wanted):
            for image in replace(self.inputs, flipped=flipped).open(unit)[0]:
                places = wanted[unit, flipped].get(image.key)
                if places is None:
                    continue
                found = self._pool_image(image, chunk, rows[places], flipped=flipped)
                if pooled is None:
                    pooled = found.new_empty((len(rows), found.shape[1]))
                pooled[torch.as_tensor(places, device=self.device)] = found
        if pooled is None:
            raise ValueError("no rows to pool")
        return pooled

    def _pool_image(self, image: WindowedImage, chunk: Chunk, rows: Integers, *, flipped: bool) -> torch.Tensor:
        # A copy: the arrays are read-only views of the shard's bytes.
        maps = {scale: torch.from_numpy(np.array(grid)).to(self.device) for scale, grid in image.maps.items()}
        own = chunk.windows.boxes[rows]
        boxes = mirror_boxes(own, image.image_wh.width) if flipped else own
        scales = chunk.scales[rows] if chunk.scales[rows].any() else None
        pooled = pool_image_windows(maps, image.image_wh, boxes, self.geometry, self.pyramid, self.convention, scales)
        return pooled.flatten(1)


class WindowBatches:
    """A worker's slices of all batches, the next chunk pooled on a thread while one trains."""

    def __init__(
        self,
        planner: ChunkPlanner,
        pooler: WindowPooler,
        *,
        batch: int,
        steps: int,
        chunk: int,
        rank: int,
        world: int,
    ) -> None:
        self._planner = planner
        self._pooler = pooler
        self._batch = batch
        self._steps = steps
        self._chunk = chunk
        self._slice = slice(rank, None, world)
        self._chunks = NumberedAhead(self._load, math.ceil(steps / chunk), ahead=2, name="window-batches")

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return this worker's slice of a step's batch: vectors `[n, bins * C]` and classes `[n]`, on the device."""
        index, position = divmod(step, self._chunk)
        vectors, labels = self._chunks.get(index)
        size = len(range(self._batch)[self._slice])
        rows = slice(position * size, (position + 1) * size)
        return vectors[rows], labels[rows]

    def _load(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        batches = min(self._chunk, self._steps - index * self._chunk)
        plan = self._planner.chunk(index, batches)
        rows = np.arange(batches * self._batch).reshape(batches, self._batch)[:, self._slice].reshape(-1)
        labels = torch.from_numpy(plan.windows.labels[rows]).to(self._pooler.device)
        return self._pooler.pool(plan, rows), labels

    def close(self) -> None:
        """End the thread after the chunk at hand."""
        self._chunks.close()
