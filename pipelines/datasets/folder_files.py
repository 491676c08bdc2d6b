"""Files below one root, which images are recognised by their extensions."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from sppnet.errors import ArtifactError, ConfigError, DataError

_DECODED = ("jpg", "JPEG", "jpeg", "png", "JPG", "PNG", "webp", "bmp", "WEBP", "BMP")
_NOT_DECODED = ("gif", "tif", "tiff", "GIF", "TIF", "TIFF")
IMAGE_EXTENSIONS = (*_DECODED, *_NOT_DECODED)
"""Tried in this order, so that the usual one costs one request. Formats that are not decoded count as images too: such
a file is quarantined instead of overlooked."""

_READERS = 16


class Named(Protocol):
    """An object of a listing."""

    @property
    def name(self) -> str:
        """Its path below the reader's root."""

    @property
    def size(self) -> int:
        """Its bytes."""


class Reader(Protocol):
    """What a data set is read through: `pipelines.engine.store.Store`, or anything like it."""

    def read(self, name: str) -> bytes:
        """The object's bytes. Raises `ArtifactError` or `FileNotFoundError` if there is none."""

    def list(self, prefix: str = "") -> Sequence[Named]:
        """All objects below the folder `prefix`, their names relative to the root."""


def is_image(name: str) -> bool:
    """Tells by its extension whether a file is an image that can be read, of any spelling that `Folder` tries."""
    return posixpath.splitext(name)[1][1:] in IMAGE_EXTENSIONS


class Folder:
    """Files below one root, by their paths below it.

    Args:
        reader: Gives their bytes.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def where(self, name: str) -> str:
        """The file's place, for messages."""
        root = getattr(self.reader, "uri", None)
        return f"{root}/{name}" if root else name

    def find(self, name: str) -> bytes | None:
        """The file's bytes, or None if there is none."""
        try:
            return self.reader.read(name)
        except (ArtifactError, FileNotFoundError):
            return None

    def need(self, name: str, what: str) -> bytes:
        """The file's bytes; raises `ConfigError` saying `what` it is if there is none."""
        data = self.find(name)
        if data is None:
            raise ConfigError(f"no {what}: {self.where(name)} does not exist")
        return data

    def image(self, stem: str, key: str) -> tuple[bytes, str]:
        """Bytes of the image `<stem>.<any extension>`, and that extension in lower case.

        Raises:
            DataError: `missing-image`.
        """
        for extension in IMAGE_EXTENSIONS:
            data = self.find(f"{stem}.{extension}")
            if data is not None:
                return data, extension.lower()
        raise DataError("missing-image", f"{key}: none of {stem}.({'|'.join(IMAGE_EXTENSIONS)})")

    def files(self, prefix: str = "") -> dict[str, int]:
        """Bytes of every file below a folder, by its path below the root; hidden files and folders are left out."""
        return {item.name: item.size for item in self.reader.list(prefix) if not _hidden(item.name)}

    def images(self, prefix: str = "") -> dict[str, int]:
        """Those of `files` that are images."""
        return {name: size for name, size in self.files(prefix).items() if is_image(name)}

    def digests(self, names: Iterable[str]) -> list[str | None]:
        """SHA-256 of files, in hexadecimal; None for one that is missing."""

        def digest(name: str) -> str | None:
            data = self.find(name)
            return None if data is None else hashlib.sha256(data).hexdigest()

        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(digest, names))


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))
