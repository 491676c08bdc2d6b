"""Maps made where they are used: from a shard's images through the convolutions, with nothing stored in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import torch

from pipelines.artifacts.backbone_info import BackboneInfo, MapsInfo
from pipelines.artifacts.image_tars import ImageRecord
from pipelines.artifacts.networks import read_backbone
from pipelines.engine.machine import choose_device
from pipelines.engine.workspace import Artifact, Commit, Workspace
from pipelines.shards.convolving import check_scale
from pipelines.shards.read_ahead import prepared_ahead
from pipelines.shards.reading import decode_record, read_images
from sppnet.arrays import Array, Pixels
from sppnet.detection.features import MapsByScale
from sppnet.errors import ArtifactError, DataError
from sppnet.networks.map_maker import MapMaker, require_finite_map

_AHEAD = 4
"""Images that are decoded ahead of the convolutions."""
_MAKERS_KEPT = 8


@dataclass(frozen=True, slots=True)
class MadeMaps:
    """Maps that `extract` describes and does not store; the same to the last bit on the same device.

    Attributes:
        images: The images artifact.
        maps: The maps artifact.
        scales: Short sides in pixels.
        flipped: Whether the maps are those of the mirrored images.
    """

    images: Artifact
    maps: Artifact
    scales: tuple[int, ...]
    flipped: bool = False

    def reads(self, shard: str) -> list[tuple[Artifact, str]]:
        """Name the units behind a shard's maps."""
        return [(self.images, shard)]

    def open(self, shard: str, commits: Sequence[Commit], aside: frozenset[str]) -> Callable[[str], MapsByScale]:
        """Open a shard; see `StoredMaps.open`.

        An image's maps are made when the first of them is asked for, which raises `DataError` for an image that has to
        be set aside.
        """
        info = BackboneInfo.read(self.maps).maps
        if info is None:
            raise ArtifactError(f"{self.maps.store.uri}/{self.maps.name} does not tell how its maps are made")
        maker = _map_maker(self.maps.store.uri, info, choose_device())
        wanted = (record for record in read_images(self.images, shard)[0] if record.key not in aside)
        batches = _batches(prepared_ahead(wanted, decode_record, _AHEAD + maker.batch), maker.batch)
        made = (
            (record.key, _ImageMaps(batch, place))
            for batch in (_Batch(maker, info, self, members) for members in batches)
            for place, (record, _) in enumerate(batch.members)
        )

        def read(key: str) -> MapsByScale:
            for found, maps in made:
                if found == key:
                    return maps
            raise ArtifactError(f"{self.images.name}/{shard}: has no image {key} where its maps are wanted")

        return read


class _Batch:
    """Images that are convolved at once, when the maps of one are first asked for."""

    def __init__(
        self,
        maker: MapMaker,
        info: MapsInfo,
        source: MadeMaps,
        members: Sequence[tuple[ImageRecord, Future[Pixels]]],
    ) -> None:
        self.members = members
        self.source = source
        self._maker = maker
        self._info = info
        self._made: list[MapsByScale | DataError] | None = None

    def maps(self, place: int) -> MapsByScale:
        """Return an image's maps, or raise what sets it aside."""
        if self._made is None:
            self._made = self._make()
        found = self._made[place]
        if isinstance(found, DataError):
            raise found
        return found

    def _make(self) -> list[MapsByScale | DataError]:
        decoded = [self._decoded(*member) for member in self.members]
        images = [image for image in decoded if not isinstance(image, DataError)]
        made = iter(self._maker(images, self.source.scales, flipped=self.source.flipped))
        return [image if isinstance(image, DataError) else self._checked(next(made)) for image in decoded]

    def _decoded(self, record: ImageRecord, image: Future[Pixels]) -> Pixels | DataError:
        try:
            for scale in self.source.scales:
                check_scale(record.size, scale, self._info.max_pixels)
            return image.result()
        except DataError as error:
            return error

    def _checked(self, maps: Mapping[int, torch.Tensor]) -> MapsByScale | DataError:
        try:
            for scale, values in maps.items():
                require_finite_map(values, scale)
        except DataError as error:
            return error
        if self._maker.device.type == "cpu":
            return {scale: values.numpy() for scale, values in maps.items()}
        return dict(maps)


class _ImageMaps(Mapping[int, Array | torch.Tensor]):
    """The maps of one image of a batch."""

    def __init__(self, batch: _Batch, place: int) -> None:
        self._batch = batch
        self._place = place

    def __getitem__(self, scale: int) -> Array | torch.Tensor:
        return self._batch.maps(self._place)[scale]

    def __iter__(self) -> Iterator[int]:
        return iter(self._batch.source.scales)

    def __len__(self) -> int:
        return len(self._batch.source.scales)


def _batches(
    items: Iterable[tuple[ImageRecord, Future[Pixels]]], size: int
) -> Iterator[list[tuple[ImageRecord, Future[Pixels]]]]:
    rest = iter(items)
    while found := list(islice(rest, size)):
        yield found


@lru_cache(maxsize=_MAKERS_KEPT)
def _map_maker(workspace: str, info: MapsInfo, device: torch.device) -> MapMaker:
    """Return what makes maps, its network read once a process however many shards follow."""
    backbone = read_backbone(Workspace.open(workspace).artifact(info.network)).to(device)
    return MapMaker(backbone, info.precision, info.dtype)
