"""Where the features of windows come from: cached maps, maps made on the spot, or for R-CNN's crops the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pipelines.artifacts.backbone_info import CROPS
from pipelines.artifacts.windows_and_maps import MapRow, decode_maps
from pipelines.engine.commits import Commit, Quarantined
from pipelines.engine.workspace import Artifact
from pipelines.shards.keys import first_entries
from pipelines.shards.made_maps import MadeMaps
from pipelines.shards.reading import decode_record, map_unit, read_images
from sppnet.arrays import Floats
from sppnet.detection.features import MapsByScale
from sppnet.errors import ArtifactError
from sppnet.sizes import Size


@dataclass(frozen=True, slots=True)
class StoredMaps:
    """Maps that `extract` made.

    Attributes:
        maps: The maps artifact.
        scales: Scales to read, short sides in pixels.
        flips: Whether an image counts only if its mirrored maps are there too.
        flipped: Whether the maps are those of the mirrored images.
    """

    maps: Artifact
    scales: tuple[int, ...]
    flips: bool = False
    flipped: bool = False

    def reads(self, shard: str) -> list[tuple[Artifact, str]]:
        """Name the units of a shard's maps: at each scale, then those that only have to be there."""
        ways = (self.flipped, not self.flipped) if self.flips else (self.flipped,)
        return [(self.maps, map_unit(scale, shard, flipped=way)) for way in ways for scale in self.scales]

    def open(self, shard: str, commits: Sequence[Commit], aside: frozenset[str]) -> Callable[[str], MapsByScale]:
        """Open a shard's maps.

        Args:
            shard: Its name.
            commits: Those of the units that `reads` names.
            aside: Keys to pass over.

        Returns:
            Reads an image's maps, by its key; images must be asked for in order. It raises `ArtifactError` where the
            next map is another image's.
        """
        readers = {scale: self._rows(commit, aside) for scale, commit in zip(self.scales, commits, strict=False)}
        return lambda key: {scale: self._map_of(key, scale, shard, reader) for scale, reader in readers.items()}

    def _rows(self, commit: Commit, aside: frozenset[str]) -> Iterator[MapRow]:
        for row in decode_maps(self.maps.read_commit(commit), f"{self.maps.name}/{commit.unit}"):
            if row.key not in aside:
                yield row

    def _map_of(self, key: str, scale: int, shard: str, reader: Iterator[MapRow]) -> Floats:
        row = next(reader, None)
        if row is None or (row.key, row.scale) != (key, scale):
            found = "ends" if row is None else f"has {row.key} at scale {row.scale}"
            where = f"{self.maps.name}/{map_unit(scale, shard, flipped=self.flipped)}"
            raise ArtifactError(f"{where}: {found} where the map of {key} belongs")
        return row.map


@dataclass(frozen=True, slots=True)
class ImagePixels:
    """Decoded images, of which every window is cropped and convolved by itself: nothing is stored of them.

    Attributes:
        images: The images artifact.
        sizes: The crops' side, under which the pixels are given.
    """

    images: Artifact
    sizes: tuple[int, ...]

    def reads(self, shard: str) -> list[tuple[Artifact, str]]:
        """Name the units behind a shard's pixels."""
        return [(self.images, shard)]

    def open(self, shard: str, commits: Sequence[Commit], aside: frozenset[str]) -> Callable[[str], MapsByScale]:
        """Open a shard's images; see `StoredMaps.open`."""
        records = {record.key: record for record in read_images(self.images, shard)[0]}

        def read(key: str) -> MapsByScale:
            if key not in records:
                raise ArtifactError(f"{self.images.name}/{shard}: has no image {key}, of which there are windows")
            return dict.fromkeys(self.sizes, decode_record(records[key]))

        return read


MapSource: TypeAlias = StoredMaps | MadeMaps | ImagePixels


def commits_of(source: MapSource, shard: str) -> list[Commit]:
    """Read the commits of what a source reads of a shard."""
    return [artifact.commit(unit) for artifact, unit in source.reads(shard)]


def map_source(images: Artifact, maps: Artifact, scales: tuple[int, ...], *, flips: bool, flipped: bool) -> MapSource:
    """Choose where features come from by the kind of artifact.

    Args:
        images: The images artifact.
        maps: The maps artifact, stored or not, or one of crops.
        scales: Scales to read, or the crops' side.
        flips: See `StoredMaps`.
        flipped: See `StoredMaps`.
    """
    if maps.kind == CROPS:
        return ImagePixels(images, scales)
    if not maps.stored:
        return MadeMaps(images, maps, scales, flipped)
    return StoredMaps(maps, scales, flips, flipped)


@dataclass(frozen=True, slots=True, eq=False)
class MappedImage:
    """An image with its maps.

    Attributes:
        key: The image's key.
        image_wh: Width and height in pixels.
        maps: By scale, read-only.
    """

    key: str
    image_wh: Size
    maps: MapsByScale


def open_maps(
    images: Artifact, maps: Artifact, scales: tuple[int, ...], shard: str
) -> tuple[Iterator[MappedImage], tuple[Quarantined, ...]]:
    """Open a shard's maps where no windows are wanted.

    Returns:
        The images that have a map at every scale, in order, and the keys that an earlier stage set aside.
    """
    source = map_source(images, maps, scales, flips=False, flipped=False)
    commits = commits_of(source, shard)
    aside = first_entries(entry for commit in commits for entry in commit.quarantined)

    def mapped() -> Iterator[MappedImage]:
        maps_of = source.open(shard, commits, frozenset(aside))
        for record in read_images(images, shard)[0]:
            if record.key not in aside:
                yield MappedImage(record.key, record.size, maps_of(record.key))

    return mapped(), tuple(aside.values())
