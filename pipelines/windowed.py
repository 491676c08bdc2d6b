"""Images with their annotation, windows and cached maps side by side, one shard at a time with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.datasets.annotations import ImageAnnotation
from pipelines.schemas import MapRow, decode_maps, decode_windows
from pipelines.shards import map_unit, read_images
from pipelines.workspace import Artifact, Quarantined


@dataclass(frozen=True, slots=True, eq=False)
class WindowedImage:
    """All that the stages after extract need of one image.

    Attributes:
        key: The image's key.
        annotation: Its size and objects.
        windows: `[n, 4]` float32 half-open pixels.
        maps: `[H, W, C]` by scale, read-only.
    """

    key: str
    annotation: ImageAnnotation
    windows: npt.NDArray[np.float32]
    maps: Mapping[int, npt.NDArray[np.floating[Any]]]

    @property
    def image_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.annotation.width, self.annotation.height


@dataclass(frozen=True, slots=True)
class ShardInputs:
    """Where a shard's parts are.

    Attributes:
        images: The images artifact.
        windows: The windows artifact.
        maps: The maps artifact.
        scales: Scales to read, short sides in pixels.
    """

    images: Artifact
    windows: Artifact
    maps: Artifact
    scales: tuple[int, ...]

    def open(self, unit: str) -> tuple[Iterator[WindowedImage], tuple[Quarantined, ...]]:
        """Opens a shard.

        Args:
            unit: The shard, `<split>/<number>`.

        Returns:
            The images that have windows and a map at every scale, in order, and the keys that an earlier stage
            set aside.

        Raises:
            ArtifactError: A part is missing or corrupt.
        """
        commits = [self.windows.commit(unit), *(self.maps.commit(map_unit(scale, unit)) for scale in self.scales)]
        aside: dict[str, Quarantined] = {}
        for commit in commits:
            for entry in commit.quarantined:
                aside.setdefault(entry.key, entry)
        return self._join(unit, frozenset(aside)), tuple(aside.values())

    def _join(self, unit: str, aside: frozenset[str]) -> Iterator[WindowedImage]:
        rows_of_windows = decode_windows(self.windows.read(unit), f"{self.windows.name}/{unit}")
        windows = {row.key: row.windows for row in rows_of_windows}
        readers = {scale: self._maps(scale, unit, aside) for scale in self.scales}
        for record in read_images(self.images, unit)[0]:
            if record.key in aside:
                continue
            rows = {scale: next(reader) for scale, reader in readers.items()}
            maps = {scale: row.map for scale, row in rows.items()}
            yield WindowedImage(record.key, record.annotation, windows[record.key], maps)

    def _maps(self, scale: int, unit: str, aside: frozenset[str]) -> Iterator[MapRow]:
        name = map_unit(scale, unit)
        for row in decode_maps(self.maps.read(name), f"{self.maps.name}/{name}"):
            if row.key not in aside:
                yield row
