"""Image shards that hold where their images lie instead of the images: nothing of a data set is copied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.engine.codec import decode, encode

SUFFIX = ".references.json"
"""Of the data objects; those that hold images are tars."""


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image of a data set.

    Attributes:
        key: The image's key.
        extension: File extension of the image without the dot, lower case.
        width: Pixels of the decoded image.
        height: Pixels of the decoded image.
        digest: What the image is known by, see `pipelines.datasets.protocol.ImageFile.digest`.
        file: Its file as it was listed; empty for an image that is no file of its own.
    """

    key: str
    extension: str
    width: int
    height: int
    digest: str
    file: str = ""


@dataclass(frozen=True, slots=True)
class ReferenceShard:
    """A shard's images and where they lie.

    Attributes:
        dataset: Config of the data set, as JSON values.
        split: The split that they are of.
        group: Their group in the data set.
        images: In order.
    """

    dataset: dict[str, Any]
    split: str
    group: str
    images: tuple[ImageReference, ...]


def encode_references(shard: ReferenceShard) -> bytes:
    """Encode a shard; equal ones give equal bytes."""
    return encode(shard)


def decode_references(data: bytes, where: str) -> ReferenceShard:
    """Decode what `encode_references` gave; raise `ArtifactError` naming `where` if it is something else."""
    return decode(ReferenceShard, data, where)
