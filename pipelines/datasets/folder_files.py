"""Files below one root; images are known by their extensions."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import ParamSpec, Protocol, cast

from pipelines.datasets.contents import SeenFile
from pipelines.datasets.keys import is_hidden
from pipelines.datasets.protocol import ImageFile
from pipelines.engine.fingerprint import content_digest
from sppnet.errors import ArtifactError, ConfigError, DataError, UnreadableError
from sppnet.outside import FILE_BYTES, IMAGE_BYTES, LIST_BYTES, NOTE_BYTES

_DECODED = ("jpg", "JPEG", "jpeg", "png", "JPG", "PNG", "webp", "bmp", "WEBP", "BMP")
_NOT_DECODED = ("gif", "tif", "tiff", "GIF", "TIF", "TIFF")
IMAGE_EXTENSIONS = (*_DECODED, *_NOT_DECODED)
"""Tried in this order, so that the usual one costs one request. Formats that are not decoded count as images too: such
a file is quarantined instead of overlooked."""


P = ParamSpec("P")


class Named(Protocol):
    """An object of a listing."""

    @property
    def name(self) -> str:
        """Its path below the reader's root."""

    @property
    def stamp(self) -> str:
        """Text that changes whenever the object does."""

    @property
    def size(self) -> int | None:
        """Bytes; None where that is not known."""


class Reader(Protocol):
    """What a data set is read through: `pipelines.engine.store.Store`, or anything like it."""

    def read(self, name: str, most: int | None = None) -> bytes:
        """Return the object's bytes, at most so many; raise as `Store.read`, or `FileNotFoundError`."""

    def list(self, prefix: str = "") -> Sequence[Named]:
        """List all objects below the folder `prefix`, their names relative to the root."""


def is_image(name: str) -> bool:
    """Tell by its extension whether a file is an image that can be read, of any spelling that `Folder` tries."""
    return posixpath.splitext(name)[1][1:] in IMAGE_EXTENSIONS


def image_among(files: Mapping[str, SeenFile], stem: str) -> SeenFile | None:
    """Return the image `<stem>.<any extension>` of listed files: the one that `Folder.image` reads; or None."""
    names = (f"{stem}.{extension}" for extension in IMAGE_EXTENSIONS)
    return next((files[name] for name in names if name in files), None)


def most_bytes(name: str) -> int:
    """Return how many bytes a file may have to be read: one image, what is said of one, a list, a table of many."""
    if is_image(name):
        return IMAGE_BYTES
    return {".xml": NOTE_BYTES, ".txt": LIST_BYTES}.get(posixpath.splitext(name)[1], FILE_BYTES)


def remembered(read: Callable[P, bytes | None]) -> Callable[P, bytes | None]:
    """Remember the small files that a worker has read last.

    A shard's labels are looked at before its annotations are read: what was looked at must be what is read.
    """
    return cast(Callable[P, bytes | None], lru_cache(maxsize=1024)(read))


def note_digest(read: Callable[P, bytes | None], *args: P.args, **kwargs: P.kwargs) -> str | None:
    """Return the digest of a small file; None where there is none that can be read."""
    try:
        data = read(*args, **kwargs)
    except DataError:
        return None
    return None if data is None else content_digest(data)


class Folder:
    """Files below one root, by their paths below it.

    Args:
        reader: Gives their bytes.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def where(self, name: str) -> str:
        """Return the file's place, for messages."""
        root = getattr(self.reader, "uri", None)
        return f"{root}/{name}" if root else name

    def find(self, name: str) -> bytes | None:
        """Return the file's bytes, or None if there is none.

        Raises:
            DataError: It is there, but can't be read: `not-a-file`, `file-too-large`, `unreadable`.
        """
        try:
            return self._read(name)
        except UnreadableError as error:
            raise DataError(error.reason, str(error)) from error

    def need(self, name: str, what: str) -> bytes:
        """Return the file's bytes; raise `ConfigError` saying `what` it is if there is none that can be read."""
        data = self._read(name)
        if data is None:
            raise ConfigError(f"no {what}: {self.where(name)} does not exist")
        return data

    def image(self, stem: str, key: str) -> ImageFile:
        """Read the image `<stem>.<any extension>`.

        Raises:
            DataError: `missing-image`, or see `find`.
        """
        for extension in IMAGE_EXTENSIONS:
            data = self.find(f"{stem}.{extension}")
            if data is not None:
                return ImageFile(data, extension.lower())
        raise DataError("missing-image", f"{key}: none of {stem}.({'|'.join(IMAGE_EXTENSIONS)})")

    def files(self, prefix: str = "") -> dict[str, SeenFile]:
        """List every file below a folder by its path below the root; hidden files and folders are left out."""
        listed = (item for item in self.reader.list(prefix) if not is_hidden(item.name))
        return {
            item.name: SeenFile(item.name, item.stamp, partial(self._read_listed, item.name), item.size)
            for item in listed
        }

    def images(self, prefix: str = "") -> dict[str, SeenFile]:
        """List those of `files` that are images."""
        return {name: file for name, file in self.files(prefix).items() if is_image(name)}

    def _read(self, name: str) -> bytes | None:
        try:
            return self.reader.read(name, most_bytes(name))
        except (ArtifactError, FileNotFoundError):
            return None

    def _read_listed(self, name: str) -> bytes:
        data = self.find(name)
        if data is None:
            raise ConfigError(f"{self.where(name)} is gone since it was listed: try again when nothing writes there")
        return data
