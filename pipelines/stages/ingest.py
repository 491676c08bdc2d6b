"""ingest: a data set of any layout becomes webdataset shards with checked images and one annotation format."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from pipelines.artifacts.image_tars import ImageRecord, encode_images
from pipelines.artifacts.manifest import NAME as MANIFEST
from pipelines.artifacts.manifest import Manifest
from pipelines.datasets.kinds import parse_dataset
from pipelines.datasets.sources import DatasetConfig
from pipelines.engine.fingerprint import canonical_json, content_digest
from pipelines.engine.stage import RUNTIME, Phase, Stage, StageConfig, StageSpec
from pipelines.engine.workspace import Output, Quarantined
from pipelines.shards.reading import splits_units
from sppnet.errors import DataError
from sppnet.images.decoding import decode_image


class IngestConfig(StageConfig):
    """Config of `ingest`.

    Attributes:
        dataset: Where the images are. Its content, not its path, is in the fingerprint.
        shard_size: Images a shard.
        max_pixels: Larger images are quarantined as `too-large` before they are decoded.
        min_side: Images with a shorter side, in pixels, are quarantined as `too-small`.
    """

    stage: Literal["ingest"]
    dataset: Annotated[SerializeAsAny[DatasetConfig], BeforeValidator(parse_dataset), RUNTIME]
    shard_size: Annotated[int, Field(ge=1)] = 32
    max_pixels: Annotated[int, Field(ge=1)] = 64_000_000
    min_side: Annotated[int, Field(ge=1)] = 16


class Ingest(Stage[IngestConfig]):
    """Writes one tar a shard: image bytes untouched, annotation as JSON."""

    name: ClassVar[str] = "ingest"
    makes: ClassVar[str] = "images"
    config_type: ClassVar[type[StageConfig]] = IngestConfig

    def __init__(self, config: IngestConfig, spec: StageSpec) -> None:
        super().__init__(config, spec)
        self._dataset = config.dataset.open()

    @classmethod
    def external(cls, config: IngestConfig) -> Mapping[str, Any]:
        """Digest of what the data set is: its keys, the images' names and sizes, the annotations; not its place."""
        body = {"kind": config.dataset.kind, **config.dataset.open().describe()}
        return {"dataset": content_digest(canonical_json(body).encode())}

    def prepare(self) -> None:
        """Records the manifest, unless it is there: listing a large data set takes a while."""
        if self.artifact.store.exists(f"{self.artifact.name}/{MANIFEST}"):
            return
        dataset = self._dataset
        splits = {split: dataset.shards(split, self.config.shard_size) for split in dataset.splits}
        Manifest(splits, dataset.categories(), dataset.names()).write(self.artifact)

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest that `prepare` recorded."""
        return Manifest.read(self.artifact)

    def phases(self) -> list[Phase]:
        """One phase; a unit is a shard of a split."""
        return [Phase("ingest", splits_units(self.manifest, self._dataset.splits))]

    def run(self, unit: str) -> Output:
        """Reads, checks and packs a shard's images."""
        records, quarantined = [], []
        for key in self.manifest.keys(unit):
            try:
                records.append(self._load(unit, key))
            except DataError as error:
                quarantined.append(Quarantined(key, error.reason, error.detail, self.name))
        objects = sum(len(record.annotation.objects) for record in records)
        return Output(
            data=encode_images(records),
            suffix=".tar",
            rows=len(records),
            done=len(records),
            quarantined=tuple(quarantined),
            metrics={"objects": objects},
        )

    def _load(self, unit: str, key: str) -> ImageRecord:
        raw = self._dataset.fetch(unit, key)
        annotation = raw.annotation.checked(self._categories)
        # A full decode: a truncated image must be found here, not by every later stage.
        image = decode_image(raw.data, max_pixels=self.config.max_pixels, min_side=self.config.min_side)
        annotation.check_size(image.shape[1], image.shape[0])
        return ImageRecord(key, raw.extension, raw.data, annotation)

    @cached_property
    def _categories(self) -> frozenset[str]:
        return frozenset(self.manifest.categories)
