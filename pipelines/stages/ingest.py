"""ingest: a data set of any layout becomes webdataset shards with checked images and one annotation format."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.datasets.voc import VocFolder
from pipelines.fingerprint import canonical_json, content_digest
from pipelines.manifest import Manifest
from pipelines.stage import RUNTIME, Phase, Stage, StageConfig, StageSpec
from pipelines.store import open_store
from pipelines.tars import ImageRecord, encode_images
from pipelines.workspace import Output, Quarantined
from sppnet.errors import DataError
from sppnet.images import decode_image


class VocDataset(BaseModel):
    """A folder in PASCAL VOC's layout.

    Attributes:
        kind: `voc`.
        root: Folder or object-store prefix that holds `Annotations`, `ImageSets/Main` and `JPEGImages`.
        splits: Names of lists in `ImageSets/Main`.
        categories: Categories that annotations may name; by default those of the folder's `categories.txt`,
            or else VOC's twenty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["voc"] = "voc"
    root: str
    splits: tuple[str, ...] = ("train", "val")
    categories: tuple[str, ...] | None = None


class IngestConfig(StageConfig):
    """Config of `ingest`.

    Attributes:
        dataset: Where the images are. Its content, not its path, is in the fingerprint.
        shard_size: Images a shard.
        max_pixels: Larger images are quarantined as `too-large` before they are decoded.
        min_side: Images with a shorter side, in pixels, are quarantined as `too-small`.
    """

    stage: Literal["ingest"]
    dataset: Annotated[VocDataset, RUNTIME]
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
        self._folder = VocFolder(open_store(config.dataset.root))

    @classmethod
    def external(cls, config: IngestConfig) -> Mapping[str, Any]:
        """Digest of the splits' keys, the images' names and sizes, and the annotations' content."""
        folder = VocFolder(open_store(config.dataset.root))
        listing = {split: [list(row) for row in folder.listing(folder.split(split))] for split in config.dataset.splits}
        body = {"listing": listing, "categories": list(_categories(folder, config.dataset))}
        return {"dataset": content_digest(canonical_json(body).encode())}

    def prepare(self) -> None:
        """Records the manifest."""
        splits = {split: self._folder.split(split) for split in self.config.dataset.splits}
        categories = _categories(self._folder, self.config.dataset)
        Manifest.cut(splits, categories, self.config.shard_size).write(self.artifact)

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest that `prepare` recorded."""
        return Manifest.read(self.artifact)

    def phases(self) -> list[Phase]:
        """One phase; a unit is a shard of a split."""
        splits = self.config.dataset.splits
        return [Phase("ingest", tuple(unit for split in splits for unit in self.manifest.units(split)))]

    def run(self, unit: str) -> Output:
        """Reads, checks and packs a shard's images."""
        records, quarantined = [], []
        for key in self.manifest.keys(unit):
            try:
                records.append(self._load(key))
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

    def _load(self, key: str) -> ImageRecord:
        data, extension, annotation = self._folder.load(key, frozenset(self.manifest.categories))
        # A full decode: a truncated image must be found here, not by every later stage.
        image = decode_image(data, max_pixels=self.config.max_pixels, min_side=self.config.min_side)
        annotation.check_size(image.shape[1], image.shape[0])
        return ImageRecord(key, extension, data, annotation)


def _categories(folder: VocFolder, dataset: VocDataset) -> tuple[str, ...]:
    return dataset.categories if dataset.categories is not None else folder.categories()
