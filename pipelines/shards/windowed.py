"""Images with their annotation, windows and cached maps side by side, one shard at a time with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.artifacts.backbone_info import CROPS
from pipelines.artifacts.windows_and_maps import MapRow, decode_maps, decode_windows
from pipelines.engine.workspace import Artifact, Commit, Quarantined
from pipelines.shards.reading import decode_record, map_unit, read_images
from sppnet.errors import ArtifactError


@dataclass(frozen=True, slots=True, eq=False)
class WindowedImage:
    """All that the stages after extract need of one image.

    Attributes:
        key: The image's key.
        annotation: Its size and objects.
        windows: `[n, 4]` float32 half-open pixels.
        maps: `[H, W, C]` by scale, read-only; for crops the image itself, RGB uint8, by their size.
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
        maps: The maps artifact, or that of crops.
        scales: Scales to read, short sides in pixels.
        flips: Whether an image counts only if its mirrored maps are there too.
        flipped: Whether the maps are those of the mirrored images; windows and annotations stay as they are.
    """

    images: Artifact
    windows: Artifact
    maps: Artifact
    scales: tuple[int, ...]
    flips: bool = False
    flipped: bool = False

    @property
    def _of_crops(self) -> bool:
        """Whether windows are cropped from the image itself, which then stands in place of its maps."""
        return self.maps.name.startswith(f"{CROPS}-")

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
        stored = () if self._of_crops else self.scales
        ways = (self.flipped, not self.flipped) if self.flips else (self.flipped,)
        units = [map_unit(scale, unit, flipped=flipped) for flipped in ways for scale in stored]
        commits = [self.windows.commit(unit), *(self.maps.commit(name) for name in units)]
        aside: dict[str, Quarantined] = {}
        for commit in commits:
            for entry in commit.quarantined:
                aside.setdefault(entry.key, entry)
        images = self._join(unit, frozenset(aside), commits[: 1 + len(stored)])
        return _one_ahead(images), tuple(aside.values())

    def _join(self, unit: str, aside: frozenset[str], commits: Sequence[Commit]) -> Iterator[WindowedImage]:
        rows_of_windows = decode_windows(self.windows.read_commit(commits[0]), f"{self.windows.name}/{unit}")
        windows = {row.key: row.windows for row in rows_of_windows}
        pairs = () if self._of_crops else zip(self.scales, commits[1:], strict=True)
        readers = {scale: self._maps(commit, aside) for scale, commit in pairs}
        for record in read_images(self.images, unit)[0]:
            if record.key in aside:
                continue
            if record.key not in windows:
                raise ArtifactError(f"{self.windows.name}/{unit}: image {record.key} has neither windows nor a reason")
            maps: dict[int, npt.NDArray[Any]]
            maps = {scale: self._map_of(record.key, scale, unit, reader) for scale, reader in readers.items()}
            if self._of_crops:
                maps = dict.fromkeys(self.scales, decode_record(record))
            yield WindowedImage(record.key, record.annotation, windows[record.key], maps)

    def _maps(self, commit: Commit, aside: frozenset[str]) -> Iterator[MapRow]:
        for row in decode_maps(self.maps.read_commit(commit), f"{self.maps.name}/{commit.unit}"):
            if row.key not in aside:
                yield row

    def _map_of(self, key: str, scale: int, unit: str, reader: Iterator[MapRow]) -> npt.NDArray[np.floating[Any]]:
        row = next(reader, None)
        if row is None or (row.key, row.scale) != (key, scale):
            found = "ends" if row is None else f"has {row.key} at scale {row.scale}"
            where = f"{self.maps.name}/{map_unit(scale, unit, flipped=self.flipped)}"
            raise ArtifactError(f"{where}: {found} where the map of {key} belongs")
        return row.map


def _one_ahead(images: Iterator[WindowedImage]) -> Iterator[WindowedImage]:
    """Reads and decodes the next image on a thread while one is at work, so that a GPU has not to wait for it."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="windowed") as thread:
        ahead = thread.submit(next, images, None)
        while (image := ahead.result()) is not None:
            ahead = thread.submit(next, images, None)
            yield image
