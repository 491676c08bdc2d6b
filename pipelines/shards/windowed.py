"""Images with their windows and cached maps side by side, one shard at a time with bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.artifacts.windows_and_maps import WindowsRow, decode_windows
from pipelines.engine.commits import Commit, Quarantined
from pipelines.engine.workspace import Artifact
from pipelines.shards.keys import first_entries
from pipelines.shards.map_sources import MapSource, commits_of, map_source
from pipelines.shards.read_ahead import one_ahead
from sppnet.arrays import Float32s
from sppnet.detection.features import MapsByScale
from sppnet.errors import ArtifactError
from sppnet.sizes import Size


@dataclass(frozen=True, slots=True, eq=False)
class WindowedImage:
    """All that the stages after extract need of one image.

    Attributes:
        key: The image's key.
        image_wh: Width and height in pixels.
        windows: `[n, 4]` float32 half-open pixels.
        maps: What features of the windows take, read-only.
    """

    key: str
    image_wh: Size
    windows: Float32s
    maps: MapsByScale


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
class ImagePair:
    """An image as it is and mirrored.

    Attributes:
        plain: The image, with its annotation.
        mirrored: The same with the maps of its mirror image; None where images are not flipped.
    """

    plain: LabelledImage
    mirrored: WindowedImage | None

    @property
    def key(self) -> str:
        """The image's key."""
        return self.plain.key


def pairs(images: Iterable[LabelledImage], mirrored: Iterable[WindowedImage]) -> Iterator[ImagePair]:
    """Join images with those of the same keys that have the maps of their mirror images, both in the same order."""
    others = iter(mirrored)
    for image in images:
        yield ImagePair(image, next(other for other in others if other.key == image.key))


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
        windows, maps = self._commits(unit)
        aside = set_aside([windows, *maps])
        return one_ahead(self._join(unit, frozenset(aside), windows, maps)), tuple(aside.values())

    @property
    def _source(self) -> MapSource:
        return map_source(self.images, self.maps, self.scales, flips=self.flips, flipped=self.flipped)

    def _commits(self, unit: str) -> tuple[Commit, list[Commit]]:
        return self.windows.commit(unit), commits_of(self._source, unit)

    def _join(
        self, unit: str, aside: frozenset[str], windows: Commit, maps: Sequence[Commit]
    ) -> Iterator[WindowedImage]:
        maps_of = self._source.open(unit, maps, aside)
        for row in read_windows(self.windows, windows):
            if row.key not in aside:
                yield WindowedImage(row.key, Size(row.width, row.height), row.windows, maps_of(row.key))


def read_windows(windows: Artifact, commit: Commit) -> list[WindowsRow]:
    """Read a shard's windows, images in order; raise `ArtifactError` if they are missing or corrupt."""
    return decode_windows(windows.read_commit(commit), f"{windows.name}/{commit.unit}")


def set_aside(commits: Iterable[Commit]) -> dict[str, Quarantined]:
    """Return the keys that any of some commits sets aside, with the first of their entries."""
    return first_entries(entry for commit in commits for entry in commit.quarantined)
