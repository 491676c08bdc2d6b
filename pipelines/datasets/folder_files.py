"""Files below one root, as a listing shows them; images are known by their extensions."""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import ParamSpec, Protocol, cast

from pipelines.datasets.contents import SeenFile
from pipelines.datasets.keys import is_hidden, is_image
from pipelines.datasets.left_out import LeftOut
from pipelines.datasets.protocol import ImageFile
from pipelines.datasets.tar_keys import is_tar
from pipelines.engine.fingerprint import content_digest
from sppnet.errors import ArtifactError, ConfigError, DataError, UnreadableError
from sppnet.outside import FILE_BYTES, IMAGE_BYTES, LIST_BYTES, NOTE_BYTES

_TRIED = ("jpg", "JPEG", "jpeg", "png", "JPG", "PNG", "webp", "bmp", "WEBP", "BMP", "gif", "tif", "tiff")
"""Of images that nobody has listed, in this order, so that the usual one costs one request."""

logger = logging.getLogger(__name__)
P = ParamSpec("P")
_TOLD = 5
_ESCAPED = re.compile(r"\\x[89a-f][0-9a-f]")


class Named(Protocol):
    """An object of a listing."""

    @property
    def name(self) -> str:
        """Its path below the reader's root."""

    @property
    def stamp(self) -> str:
        """Text that changes whenever the object does."""

    @property
    def trouble(self) -> str:
        """Why it can't be read, where the listing knows."""

    @property
    def size(self) -> int | None:
        """Bytes; None where that is not known."""


class Reader(Protocol):
    """What a data set is read through: `pipelines.engine.store.Store`, or anything like it."""

    def read(self, name: str, most: int | None = None) -> bytes:
        """Return the object's bytes, at most so many; raise as `Store.read`, or `FileNotFoundError`."""

    def survey(self, prefix: str = "") -> Sequence[Named]:
        """List all objects below the folder `prefix`, also those that can't be read; names are below the root."""


@dataclass(frozen=True)
class Listing:
    """What a folder and those below it hold.

    Attributes:
        files: By path below the root; also those that can't be read and are images or tars by their extensions.
        hidden: How many files are hidden, or in hidden folders: they are not in `files`.
        closed: Why what else is there can't be read, by path: folders without the right, links to nothing.
    """

    files: Mapping[str, SeenFile]
    hidden: int = 0
    closed: Mapping[str, str] = field(default_factory=dict)

    def left_out(self, taken: Callable[[str], bool] = is_image, named: Sequence[str] = ()) -> LeftOut:
        """Return what is not taken.

        Args:
            taken: Tells of a path whether it is.
            named: More lines for people.
        """
        closed = [f"{name}: {why}" for name, why in self.closed.items()]
        return LeftOut.of((name for name in self.files if not taken(name)), self.hidden, [*closed, *named])


def only_one(files: Sequence[SeenFile]) -> SeenFile | None:
    """Return an image's file if there is just one and it can be read."""
    return files[0] if len(files) == 1 and not files[0].trouble else None


def names_of(files: Sequence[SeenFile]) -> tuple[str, ...]:
    """Return the paths of an image's files, for `Item.files`."""
    return tuple(file.place for file in files)


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
        """Return the file's bytes, or None if there is none; nothing outside the root is ever read.

        Raises:
            DataError: It can't be read: `not-a-file`, `file-too-large`, `unreadable`, `dangling-link`.
        """
        if ".." in name.split("/"):
            return None
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

    def image(self, stem: str, key: str, files: Sequence[str] | None = None) -> ImageFile:
        """Read an image.

        Args:
            stem: Its path without an extension.
            key: Its key, for messages.
            files: Its files as they were listed; None looks for the usual extensions.

        Raises:
            DataError: `missing-image`, `several-images`; or see `find`.
        """
        if files is not None and len(files) > 1:
            raise DataError("several-images", f"{key}: {' and '.join(files)} have one name; rename or remove one")
        if files == ():
            raise DataError("missing-image", f"{key}: no image of {stem}")
        # What was listed, else what took its place.
        for name in dict.fromkeys((*(files or ()), *(f"{stem}.{extension}" for extension in _TRIED))):
            data = self.find(name)
            if data is not None:
                return ImageFile(data, posixpath.splitext(name)[1][1:].lower())
        if files and _ESCAPED.search(files[0]):
            raise DataError("unreadable", f"{key}: {files[0]}: its name is not UTF-8; rename it")
        raise DataError("missing-image", f"{key}: {f'{files[0]} is not there' if files else f'no image of {stem}'}")

    def listing(self, prefix: str = "") -> Listing:
        """List every file below a folder."""
        files: dict[str, SeenFile] = {}
        closed: dict[str, str] = {}
        hidden = 0
        for item in self.reader.survey(prefix):
            name = _shown(item.name)
            trouble = item.trouble or ("its name is not UTF-8" if name != item.name else "")
            if is_hidden(name):
                hidden += 1
            elif trouble and not (is_image(name) or is_tar(name)):
                closed[name] = trouble
            else:
                files[name] = SeenFile(name, item.stamp, partial(self._read_listed, name), trouble, item.size)
        if closed:
            logger.warning("%s: %d can't be read: %s", self.where(prefix), len(closed), _few(closed))
        return Listing(files, hidden, closed)

    def files(self, prefix: str = "") -> Mapping[str, SeenFile]:
        """List every file below a folder by its path below the root; hidden files and folders are left out."""
        return self.listing(prefix).files

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


def _shown(name: str) -> str:
    r"""Return a name with `\xe9` for a byte that is not UTF-8: no other could be stored or shown."""
    if name.isascii():
        return name
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _few(closed: Mapping[str, str]) -> str:
    return "; ".join([f"{name}: {why}" for name, why in closed.items()][:_TOLD])
