"""Images with their windows and cached maps side by side, one shard at a time with bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.artifacts.backbone_info import CROPS
from pipelines.artifacts.image_tars import ImageRecord
from pipelines.artifacts.windows_and_maps import MapRow, WindowsRow, decode_maps, decode_windows
from pipelines.engine.workspace import Artifact, Commit, Quarantined
from pipelines.shards.read_ahead import one_ahead
from pipelines.shards.reading import decode_record, map_unit, read_images
from sppnet.errors import ArtifactError


@dataclass(frozen=True, slots=True, eq=False)
class WindowedImage:
    """All that the stages after extract need of one image.

    Attributes:
        key: The image's key.
        image_wh: Width and height in pixels.
        windows: `[n, 4]` float32 half-open pixels.
        maps: `[H, W, C]` by scale, read-only; for crops the image itself, RGB uint8, by their size.
    """

    key: str
    image_wh: tuple[int, int]
    windows: npt.NDArray[np.float32]
    maps: Mapping[int, npt.NDArray[np.floating[Any]]]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage(WindowedImage):
    """An image with what is annotated in it, as training needs it.

    Attributes:
        annotation: Its objects.
    """

    annotation: ImageAnnotation


def labelled(
    images: Iterable[WindowedImage], annotations: Mapping[str, ImageAnnotation], unlabelled: Iterable[Quarantined] = ()
) -> Iterator[LabelledImage]:
    """Join images with what is annotated in them.

    Args:
        images: The images.
        annotations: By key.
        unlabelled: Keys that were set aside for want of an annotation that can be used; their images are left out.

    Raises:
        ArtifactError: An image has neither.
    """
    aside = {entry.key for entry in unlabelled}
    for image in images:
        if image.key in aside:
            continue
        if image.key not in annotations:
            raise ArtifactError(f"image {image.key} has windows and no annotation; run ingest and propose again")
        yield LabelledImage(image.key, image.image_wh, image.windows, image.maps, annotations[image.key])


@dataclass(frozen=True, slots=True)
class ShardInputs:
    """Where a shard's parts are.

    Attributes:
        images: The images artifact.
        windows: The windows artifact.
        maps: The maps artifact, or that of crops.
        scales: Scales to read, short sides in pixels.
        flips: Whether an image counts only if its mirrored maps are there too.
        flipped: Whether the maps are those of the mirrored images; windows stay as they are.
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
        """Open a shard.

        Args:
            unit: The shard.

        Returns:
            The images that have windows and a map at every scale, in order, and the keys that an earlier stage
            set aside.

        Raises:
            ArtifactError: A part is missing or corrupt.
        """
        commits = self._commits(unit)
        aside = _set_aside(commits)
        return one_ahead(self._join(unit, frozenset(aside), commits)), tuple(aside.values())

    def read_windows(self, unit: str) -> list[WindowsRow]:
        """Read the windows of the images that `open` would give, in order."""
        commits = self._commits(unit)
        aside = _set_aside(commits)
        return [row for row in self._windows(commits[0]) if row.key not in aside]

    def _commits(self, unit: str) -> list[Commit]:
        """Those of the windows, of the maps at each scale, and of the maps that only have to be there."""
        stored = () if self._of_crops else self.scales
        ways = (self.flipped, not self.flipped) if self.flips else (self.flipped,)
        units = [map_unit(scale, unit, flipped=flipped) for flipped in ways for scale in stored]
        return [self.windows.commit(unit), *(self.maps.commit(name) for name in units)]

    def _windows(self, commit: Commit) -> list[WindowsRow]:
        return decode_windows(self.windows.read_commit(commit), f"{self.windows.name}/{commit.unit}")

    def _join(self, unit: str, aside: frozenset[str], commits: Sequence[Commit]) -> Iterator[WindowedImage]:
        rows = [row for row in self._windows(commits[0]) if row.key not in aside]
        pairs = () if self._of_crops else zip(self.scales, commits[1:], strict=False)
        readers = {scale: self._maps(commit, aside) for scale, commit in pairs}
        pixels = self._pixels(unit) if self._of_crops else None
        for row in rows:
            maps: dict[int, npt.NDArray[Any]]
            maps = {scale: self._map_of(row.key, scale, unit, reader) for scale, reader in readers.items()}
            if pixels is not None:
                maps = dict.fromkeys(self.scales, decode_record(pixels[row.key]))
            yield WindowedImage(row.key, (row.width, row.height), row.windows, maps)

    def _pixels(self, unit: str) -> dict[str, ImageRecord]:
        return {record.key: record for record in read_images(self.images, unit)[0]}

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


def _set_aside(commits: Sequence[Commit]) -> dict[str, Quarantined]:
    """By key, the first of the entries that commits carry."""
    aside: dict[str, Quarantined] = {}
    for commit in commits:
        for entry in commit.quarantined:
            aside.setdefault(entry.key, entry)
    return aside
