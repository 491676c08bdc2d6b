"""Image shards: webdataset tars with each image's bytes untouched and its size as JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import webdataset as wds

from pipelines.artifacts.tar_members import tar_members
from pipelines.engine.fingerprint import canonical_json
from sppnet.errors import ArtifactError, ConfigError, DataError
from sppnet.sizes import Size


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of a shard.

    Attributes:
        key: The image's key.
        extension: File extension of the image without the dot, lower case.
        data: The encoded image, as it was found.
        width: Pixels of the decoded image.
        height: Pixels of the decoded image.
    """

    key: str
    extension: str
    data: bytes
    width: int
    height: int

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return Size(self.width, self.height)


def encode_images(records: Iterable[ImageRecord]) -> bytes:
    """Encode a shard; equal records give equal bytes. Raises `ConfigError` for a key that a tar can't carry."""
    sink = io.BytesIO()
    with wds.TarWriter(sink, encoder=False, mtime=0) as writer:
        for record in records:
            if not record.key or "." in record.key:
                raise ConfigError(f"key {record.key!r}: a shard's keys may not be empty or have dots")
            body = canonical_json({"width": record.width, "height": record.height}).encode()
            writer.write({"__key__": record.key, record.extension: record.data, "json": body})
    return sink.getvalue()


def decode_images(data: bytes, where: str) -> Iterator[ImageRecord]:
    """Yield a shard's records in order; raises `ArtifactError` naming `where` for a broken tar."""
    pending: dict[str, tuple[str, bytes]] = {}
    try:
        for name, body in tar_members(data, lambda why: ArtifactError(f"{where}: not a readable image shard ({why})")):
            if isinstance(body, DataError):
                raise ArtifactError(f"{where}: not a readable image shard ({body.detail})")
            key, _, extension = name.partition(".")
            other = pending.pop(key, None)
            if other is None:
                pending[key] = (extension, body)
                continue
            (image_extension, image), (_, text) = sorted([other, (extension, body)], key=lambda part: part[0] == "json")
            size = json.loads(text)
            yield ImageRecord(key, image_extension, image, int(size["width"]), int(size["height"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{where}: not a readable image shard ({error})") from error
    if pending:
        raise ArtifactError(f"{where}: {next(iter(pending))} has an image or a size, not both")
