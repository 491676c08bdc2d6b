"""Images that are made in this process as an images artifact: what the benchmarks work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.artifacts.annotations import ImageAnnotation, encode_annotations
from pipelines.artifacts.image_tars import ImageRecord, encode_images
from pipelines.artifacts.manifest import ANNOTATIONS, Manifest, Shard, name_annotations, name_images
from pipelines.engine.commits import Output
from pipelines.engine.fingerprint import canonical_json, content_digest
from pipelines.engine.workspace import Artifact


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An encoded image with its objects.

    Attributes:
        extension: Of the image's format, without the dot.
        data: The encoded image.
        annotation: Its key, size and objects.
    """

    extension: str
    data: bytes
    annotation: ImageAnnotation

    @property
    def record(self) -> ImageRecord:
        """The image as a shard holds it."""
        known = self.annotation
        return ImageRecord(known.key, self.extension, self.data, known.width, known.height)


def write_images(
    artifact: Artifact, splits: Mapping[str, Sequence[AnnotatedImage]], categories: Sequence[str], shard_size: int
) -> Manifest:
    """Write images and annotations into an images artifact, as `ingest` does with those of a data set.

    Args:
        artifact: The images artifact.
        splits: By split, its images in order.
        categories: Those that objects may name, in order.
        shard_size: Images of a shard.

    Returns:
        The manifest, which is recorded in the workspace.
    """
    shards: dict[str, tuple[Shard, ...]] = {}
    for split, images in splits.items():
        parts = [images[start : start + shard_size] for start in range(0, len(images), shard_size)]
        shards[split] = tuple(_named(part, categories) for part in parts)
        for shard, part in zip(shards[split], parts, strict=True):
            write_shard(artifact, shard, part)
    manifest = Manifest(shards, tuple(categories))
    manifest.write(artifact.store)
    return manifest


def write_shard(artifact: Artifact, shard: Shard, images: Sequence[AnnotatedImage]) -> None:
    """Write the two units of a shard of an images artifact: its images and their annotations, none set aside."""
    count = len(images)
    tar = encode_images(image.record for image in images)
    artifact.publish(shard.images, Output(tar, ".tar", count, count), 0)
    annotations = encode_annotations(image.annotation for image in images)
    artifact.publish(ANNOTATIONS + shard.annotations, Output(annotations, ".json", count, count), 0)


def _named(images: Sequence[AnnotatedImage], categories: Sequence[str]) -> Shard:
    keys = tuple(image.annotation.key for image in images)
    name = name_images((key, content_digest(image.data)) for key, image in zip(keys, images, strict=True))
    labels = [content_digest(canonical_json(image.annotation.to_json()).encode()) for image in images]
    return Shard(name, name_annotations(name, labels, categories), keys)
