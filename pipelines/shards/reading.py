"""Reading a shard of images: its records, their pixels, what is annotated in them; and the names of its maps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from pydantic import Field

from pipelines.artifacts.annotations import ImageAnnotation, decode_annotations
from pipelines.artifacts.image_references import SUFFIX, decode_references
from pipelines.artifacts.image_tars import ImageRecord, decode_images
from pipelines.artifacts.manifest import Manifest
from pipelines.datasets.kinds import parse_dataset
from pipelines.datasets.protocol import DataSet, DatasetConfig, Place
from pipelines.engine.commits import Quarantined
from pipelines.engine.fingerprint import canonical_json
from pipelines.engine.stage import StageSpec
from pipelines.engine.workspace import Artifact, Workspace
from sppnet.arrays import Pixels
from sppnet.errors import ArtifactError, DataError
from sppnet.images.decoding import decode_image

ScaleField = Annotated[int, Field(ge=1, le=9999)]
"""A scale, or another short side in pixels, of at most four digits, as the names of maps have it."""


def read_images(images: Artifact, unit: str) -> tuple[Iterator[ImageRecord], tuple[Quarantined, ...]]:
    """Open a shard of images.

    Args:
        images: The images artifact.
        unit: The shard.

    Returns:
        The records in order, and the keys that ingest set aside.
    """
    commit, where = images.commit(unit), f"{images.name}/{unit}"
    data = images.read_commit(commit)
    is_referred = (commit.data or "").endswith(SUFFIX)
    return _referred(data, where) if is_referred else decode_images(data, where), commit.quarantined


def _referred(data: bytes, where: str) -> Iterator[ImageRecord]:
    """Read the images that a shard refers to, where they lie.

    Raises:
        ArtifactError: An image is not there, or is not the one that was ingested.
    """
    shard = decode_references(data, where)
    dataset = _open_dataset(canonical_json(shard.dataset), where)
    for known in shard.images:
        place = Place(shard.split, shard.group, known.key, (known.file,) if known.file else None)
        try:
            found = dataset.image(place)
            if found.digest != known.digest:  # once more: a store may have sent a part
                found = dataset.image(place)
        except DataError as error:
            raise ArtifactError(f"{where}: image {known.key} can't be read any more ({error}); run again") from error
        if found.digest != known.digest:
            raise ArtifactError(
                f"{where}: image {known.key} has changed since it was ingested; run again when nothing writes there"
            )
        yield ImageRecord(known.key, found.extension, found.data, known.width, known.height)


@lru_cache(maxsize=2)
def _open_dataset(config: str, where: str) -> DataSet:
    """Open a data set for a shard: it remembers what it has read last, which another shard may have seen otherwise."""
    found: DatasetConfig = parse_dataset(json.loads(config))
    return found.open()


@dataclass(frozen=True, slots=True)
class IngestedImages:
    """The images of a data set in a workspace.

    Attributes:
        artifact: The images artifact, which may hold images of other data sets too.
        manifest: The data set's manifest.
    """

    artifact: Artifact
    manifest: Manifest

    @classmethod
    def of(cls, workspace: Workspace, spec: StageSpec) -> IngestedImages:
        """Return the images that a step's field `images` names; raise `ArtifactError` if they were never looked at."""
        (name,) = dict(spec.inputs)["images"]
        return cls(workspace.artifact(name), Manifest.read(workspace.store, spec.manifest))

    def read_annotations(self, unit: str) -> tuple[dict[str, ImageAnnotation], tuple[Quarantined, ...]]:
        """Read what is annotated in a shard's images.

        Args:
            unit: The shard.

        Returns:
            The annotations by key, in the shard's order, and the keys whose image or annotation ingest set aside.
        """
        commit = self.artifact.commit(self.manifest.annotations(unit))
        where = f"{self.artifact.name}/{commit.unit}"
        return decode_annotations(self.artifact.read_commit(commit), where), commit.quarantined


def decode_record(record: ImageRecord) -> Pixels:
    """Decode a record's image to `[H, W, 3]` RGB; its size was checked at ingest and bounds the decoder here."""
    return decode_image(record.data, max_pixels=record.width * record.height, min_side=1)


def splits_units(manifest: Manifest, splits: Iterable[str]) -> tuple[str, ...]:
    """Return all shards of several splits, in order, each once; raise `ConfigError` for an unknown split."""
    return tuple(dict.fromkeys(unit for split in splits for unit in manifest.units(split)))


def map_unit(scale: int, unit: str, *, flipped: bool = False) -> str:
    """Return the name of a shard's maps at a scale: `s0688/<shard>`, or `s0688f/<shard>` of its mirrored images."""
    return f"s{scale:04d}{'f' if flipped else ''}/{unit}"


def parse_map_unit(unit: str) -> tuple[int, str, bool]:
    """Return the scale, the shard, and whether its images are mirrored, of a maps unit."""
    head, _, shard = unit.partition("/")
    return int(head.strip("sf")), shard, head.endswith("f")
