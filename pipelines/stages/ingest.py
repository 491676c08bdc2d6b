"""ingest: a data set of any layout becomes webdataset shards with checked images, and annotations in one format.

A shard of images and its annotations are units of their own, named by their content: images that are there already
are not ingested again, whichever data set or recipe they came from, and a label that changes costs its shard's
annotations only.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from pipelines.artifacts.annotations import ImageAnnotation, encode_annotations
from pipelines.artifacts.image_references import SUFFIX as REFERENCES
from pipelines.artifacts.image_references import ImageReference, ReferenceShard, encode_references
from pipelines.artifacts.image_tars import ImageRecord, encode_images
from pipelines.artifacts.manifest import ANNOTATIONS, Manifest, Shard, name_annotations, name_images
from pipelines.datasets.kinds import parse_dataset
from pipelines.datasets.left_out import OBJECT as LEFT_OUT
from pipelines.datasets.looking import (
    CONTENTS,
    ITEMS,
    SeenDataSet,
    decode_items,
    describe_changes,
    known_contents,
    known_cut,
    look_at,
    seen_before,
)
from pipelines.datasets.protocol import DatasetConfig, Place
from pipelines.engine.commits import Commit, Output, Quarantined
from pipelines.engine.looks import Look, Past, PastLook
from pipelines.engine.phases import Phase
from pipelines.engine.stage import COVERAGE, RUNTIME, Stage, StageConfig, StageSpec
from pipelines.engine.store import Store
from sppnet.errors import ConfigError, DataError
from sppnet.images.decoding import decode_image

SIZES = "sizes"
"""The figure of a commit that tells the width and height in pixels of each image by its key."""


class IngestConfig(StageConfig):
    """Config of `ingest`.

    Attributes:
        dataset: Where the images are. What they are is told by their content, not by their place.
        shard_size: Images of a new shard. Shards of that size that were cut before keep their images. [images]
        annotations: Whether annotations are ingested too. Images that are only to be scored need none.
        by_reference: Whether shards hold where their images lie instead of the images. Nothing is copied then, and the
            images have to stay as they are, where every worker reads them.
        max_pixels: Larger images are quarantined as `too-large` before they are decoded. [pixels]
        min_side: Images with a shorter side are quarantined as `too-small`. [pixels]
    """

    stage: Literal["ingest"]
    dataset: Annotated[SerializeAsAny[DatasetConfig], BeforeValidator(parse_dataset), RUNTIME]
    shard_size: Annotated[int, COVERAGE, Field(ge=1)] = 32
    annotations: Annotated[bool, COVERAGE] = True
    by_reference: Annotated[bool, RUNTIME] = False
    max_pixels: Annotated[int, Field(ge=1)] = 64_000_000
    min_side: Annotated[int, Field(ge=1)] = 16


@dataclass(slots=True)
class _SeenImages:
    """What a shard's images were when they were read: no bytes, which the tar alone has in memory."""

    records: list[ImageRecord] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    digests: list[str | None] = field(default_factory=list)


class Ingest(Stage[IngestConfig]):
    """Writes one tar a shard, image bytes untouched, and one file of annotations."""

    name: ClassVar[str] = "ingest"
    makes: ClassVar[str] = "images"
    schema: ClassVar[int] = 2
    config_type: ClassVar[type[StageConfig]] = IngestConfig

    def __init__(self, config: IngestConfig, spec: StageSpec) -> None:
        super().__init__(config, spec)
        self._dataset = config.dataset.open()

    @classmethod
    def outside(cls, config: IngestConfig) -> Mapping[str, Any]:
        """Name the data set."""
        return {"dataset": config.dataset.model_dump(mode="json"), **cls.place(config)}

    @classmethod
    def place(cls, config: IngestConfig) -> Mapping[str, Any]:
        """Name where the data set lies, and how it is cut: its shards stay, whatever else is asked of it."""
        return {"place": config.dataset.place(), "shard_size": config.shard_size}

    @classmethod
    def external(cls, config: IngestConfig) -> Mapping[str, Any]:
        """Keep images that are not copied apart, by their place: whoever wants copies must not find those."""
        return {"by_reference": config.dataset.place()} if config.by_reference else {}

    @classmethod
    def look(cls, config: IngestConfig, store: Store, past: Past) -> Look:
        """Look at the data set; see `pipelines.datasets.looking`."""
        contents = known_contents(past)
        seen = look_at(config.dataset.open(), contents, config.shard_size, known_cut(past))
        manifest = seen.manifest
        manifest.hold(store)
        return Look(
            manifest=manifest.digest,
            splits={split: manifest.identity(split) for split in manifest.splits},
            objects={CONTENTS: contents.encode(), ITEMS: seen.encode(), LEFT_OUT: contents.left_out.encode()},
            shared={manifest.object_name: manifest.body},
            reread=contents.read_count > 0,
        )

    @classmethod
    def changes(cls, store: Store, before: PastLook, now: Look) -> list[str]:
        """Say shard by shard what differs between two looks at the data set."""
        if before.look.manifest == now.manifest:
            return []
        manifest = Manifest.read(store, now.manifest)
        return describe_changes(seen_before(before), SeenDataSet(manifest, decode_items(now.objects[ITEMS], ITEMS)))

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest of the data set as it was looked at."""
        return Manifest.read(self.workspace.store, self.spec.manifest)

    def title(self, unit: str) -> str:
        """Return the split and number of a shard."""
        if unit.startswith(ANNOTATIONS):
            return f"annotations of {self.manifest.title(self._annotated[unit].images)}"
        return self.manifest.title(unit)

    def phases(self) -> list[Phase]:
        """Return images, then annotations, which account for the keys: a unit of each is a shard of a split.

        Without annotations the images account for them.
        """
        units = tuple(dict.fromkeys(unit for split in self.manifest.splits for unit in self.manifest.units(split)))
        if not self.config.annotations:
            return [Phase("images", units)]
        return [Phase("images", units, keyed=False), Phase("annotations", tuple(self._annotated))]

    def reads(self, unit: str) -> Iterable[tuple[str, str]]:
        """Return, for a shard's annotations, its images: no others of the phase before."""
        return [(self.artifact.name, self._annotated[unit].images)] if unit.startswith(ANNOTATIONS) else []

    def run(self, unit: str) -> Output:
        """Read, check and pack a shard's images, or its annotations."""
        return self._annotations(unit) if unit.startswith(ANNOTATIONS) else self._images(unit)

    def _images(self, unit: str, *, again: bool = False) -> Output:
        """Read a shard's images; once more where they are others than were looked at: a store may send a part."""
        shard = self.manifest.shard(unit)
        seen = _SeenImages()
        images = self._checked(shard, seen)
        if self.config.by_reference:
            deque(images, maxlen=0)
            tar = b""
        else:
            tar = encode_images(images)
        digests = seen.digests
        found_unit = name_images(zip(shard.keys, digests, strict=True))
        if found_unit != unit and not again:
            return self._images(unit, again=True)
        self._check_unchanged(unit, found_unit, shard)
        known = dict(zip(shard.keys, digests, strict=True))
        references = self.config.by_reference
        return Output(
            data=self._references(shard, seen.records, known) if references else tar,
            suffix=REFERENCES if references else ".tar",
            rows=len(seen.records),
            done=len(seen.records),
            quarantined=tuple(seen.quarantined),
            metrics={SIZES: {record.key: [record.width, record.height] for record in seen.records}},
        )

    def _checked(self, shard: Shard, seen: _SeenImages) -> Iterator[ImageRecord]:
        """Read and decode a shard's images one after another; yield those that can be used, and note all."""
        for place in self._places(shard):
            seen.digests.append(None)
            try:
                found = self._dataset.image(place)
                seen.digests[-1] = found.digest
                # A full decode: a truncated image must be found here, not by every later stage.
                image = decode_image(found.data, max_pixels=self.config.max_pixels, min_side=self.config.min_side)
            except DataError as error:
                seen.quarantined.append(Quarantined(place.key, error.reason, error.detail, self.name))
                continue
            record = ImageRecord(place.key, found.extension, found.data, image.shape[1], image.shape[0])
            seen.records.append(replace(record, data=b""))
            yield record

    def _references(self, shard: Shard, records: Sequence[ImageRecord], digests: Mapping[str, str | None]) -> bytes:
        files = {key: names[0] for key, names in shard.files_of() if names}
        images = tuple(
            ImageReference(r.key, r.extension, r.width, r.height, str(digests[r.key]), files.get(r.key, ""))
            for r in records
        )
        split = self.manifest.place(shard.images)[0]
        return encode_references(
            ReferenceShard(self.config.dataset.model_dump(mode="json"), split, shard.group, images)
        )

    def _annotations(self, unit: str) -> Output:
        shard = self._annotated[unit]
        images = self.artifact.commit(shard.images)
        labels = [self._dataset.label(place) for place in self._places(shard)]
        categories = self.manifest.categories
        self._check_unchanged(unit, ANNOTATIONS + name_annotations(shard.images, labels, categories), shard)
        found, quarantined = [], {entry.key: entry for entry in images.quarantined}
        for place in self._places(shard):
            if place.key in quarantined:
                continue
            try:
                found.append(self._annotation(place, images))
            except DataError as error:
                quarantined[place.key] = Quarantined(place.key, error.reason, error.detail, self.name)
        return Output(
            data=encode_annotations(found),
            suffix=".json",
            rows=len(found),
            done=len(found),
            quarantined=tuple(quarantined[key] for key in shard.keys if key in quarantined),
            metrics={"objects": sum(len(annotation.objects) for annotation in found)},
        )

    def _annotation(self, place: Place, images: Commit) -> ImageAnnotation:
        width, height = images.metrics[SIZES][place.key]
        annotation = self._dataset.annotation(place, width, height).checked(self._categories)
        annotation.check_size(width, height)
        return annotation

    def _check_unchanged(self, unit: str, found: str, shard: Shard) -> None:
        if found == name_images((key, None) for key in shard.keys) != unit:
            raise ConfigError(
                f"step {self.spec.step}: {self.title(unit)}: none of its images ({shard.keys[0]} and others) is there "
                f"on {socket.gethostname()}: give a folder that all machines share, or s3://bucket/prefix"
            )
        if found != unit:
            raise ConfigError(
                f"step {self.spec.step}: {self.title(unit)}: files of this shard ({shard.keys[0]} and others) have "
                f"changed since the run began; {self.config.dataset.steady()}"
            )

    def _places(self, shard: Shard) -> list[Place]:
        split = self.manifest.place(shard.images)[0]
        return [Place(split, shard.group, key, files) for key, files in shard.files_of()]

    @cached_property
    def _annotated(self) -> dict[str, Shard]:
        """By unit of annotations, its shard."""
        shards = (shard for shards in self.manifest.splits.values() for shard in shards)
        return {ANNOTATIONS + shard.annotations: shard for shard in shards}

    @cached_property
    def _categories(self) -> frozenset[str]:
        return frozenset(self.manifest.categories)
