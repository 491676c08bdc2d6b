"""Maps made where they are used: from a shard's images through the convolutions, with nothing stored in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache

import torch

from pipelines.artifacts.backbone_info import BackboneInfo, MapsInfo
from pipelines.artifacts.image_tars import ImageRecord
from pipelines.artifacts.networks import read_backbone
from pipelines.engine.commits import Commit
from pipelines.engine.machine import choose_device
from pipelines.engine.workspace import Artifact, Workspace
from pipelines.shards.convolving import convolve_batch
from pipelines.shards.read_ahead import in_batches, prepared_ahead
from pipelines.shards.reading import decode_record, read_images
from sppnet.arrays import Array, Pixels
from sppnet.detection.features import MapsByScale
from sppnet.errors import ArtifactError, DataError
from sppnet.networks.map_maker import MapMaker

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
        maker, info = maker_of(self.maps, choose_device())
        wanted = (record for record in read_images(self.images, shard)[0] if record.key not in aside)
        batches = in_batches(prepared_ahead(wanted, decode_record, _AHEAD + maker.batch), maker.batch)
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
        source = self.source
        options = (source.scales, self._info.max_pixels)
        made = convolve_batch(self._maker, self.members, *options, flipped=source.flipped)
        return [self._whole(maps) for maps in made]

    def _whole(self, maps: Mapping[int, torch.Tensor | DataError]) -> MapsByScale | DataError:
        """Return an image's maps, or what sets it aside: the first of the reasons, as if the scales were stored."""
        found: dict[int, Array | torch.Tensor] = {}
        for scale in self.source.scales:
            values = maps[scale]
            if isinstance(values, DataError):
                return values
            found[scale] = values.numpy() if self._maker.device.type == "cpu" else values
        return found


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


def maker_of(maps: Artifact, device: torch.device) -> tuple[MapMaker, MapsInfo]:
    """Return what makes the maps that an artifact describes, on a device, and how it is told to.

    Raises:
        ArtifactError: The artifact does not tell how its maps are made.
    """
    info = BackboneInfo.read(maps).maps
    if info is None:
        raise ArtifactError(f"{maps.store.uri}/{maps.name} does not tell how its maps are made")
    return _map_maker(maps.store.uri, info, device), info


@lru_cache(maxsize=_MAKERS_KEPT)
def _map_maker(workspace: str, info: MapsInfo, device: torch.device) -> MapMaker:
    """Return what makes maps, its network read once a process however many shards follow."""
    backbone = read_backbone(Workspace.open(workspace).artifact(info.network)).to(device)
    return MapMaker(backbone, info.precision, info.dtype)
