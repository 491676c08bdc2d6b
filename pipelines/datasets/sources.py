"""What every kind of data set offers to ingest, and the keys, lists and orders that they share."""

from __future__ import annotations

import csv
import hashlib
import io
import posixpath
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict

from pipelines.artifacts.annotations import ImageAnnotation
from sppnet.errors import ArtifactError, ConfigError, DataError

_DECODED = ("jpg", "JPEG", "jpeg", "png", "JPG", "PNG", "webp", "bmp", "WEBP", "BMP")
_NOT_DECODED = ("gif", "tif", "tiff", "GIF", "TIF", "TIFF")
IMAGE_EXTENSIONS = (*_DECODED, *_NOT_DECODED)
"""Tried in this order, so that the usual one costs one request. Formats that are not decoded count as images too: such
a file is quarantined instead of overlooked."""

Shards: TypeAlias = tuple[tuple[str, ...], ...]
"""A split's keys, cut into shards."""

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


@dataclass(frozen=True, slots=True)
class RawImage:
    """An image as its data set has it.

    Attributes:
        data: The file's bytes, untouched.
        extension: Of the file, lower case, without the dot.
        annotation: Its size and objects; boxes and categories are not checked yet.
    """

    data: bytes
    extension: str
    annotation: ImageAnnotation


class DataSet(Protocol):
    """A data set of any kind. It is built on the driver and on every worker, and reads nothing when it is built."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits to ingest."""

    def shards(self, split: str, size: int) -> Shards:
        """The split's keys in order, cut into shards of `size` unless the data set comes in shards.

        Raises:
            ConfigError: No such split, an empty one, a key twice, or a key that can't be one.
        """

    def categories(self) -> tuple[str, ...]:
        """Those that annotations may name, in order."""

    def names(self) -> Mapping[str, str]:
        """Words for people by category, where categories are codes such as wnids; or nothing."""

    def describe(self) -> Mapping[str, Any]:
        """What tells it from other data sets, as JSON values: names, sizes, annotations; never where it lies."""

    def fetch(self, unit: str, key: str) -> RawImage:
        """Reads the image `key` of the shard `unit`; raises `DataError` if the key can't be used."""


class DatasetConfig(BaseModel, ABC):
    """Base of the configs of all kinds of data sets: frozen, unknown keys refused.

    Attributes:
        kind: The kind's name.
        root: Folder or object-store prefix; other paths are relative to it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    root: str

    @abstractmethod
    def open(self) -> DataSet:
        """The data set; raises `ConfigError` for a root that names no store."""


def as_tuple(value: Any) -> Any:
    """A single string as a tuple of one, for fields that take one or several; anything else as it is."""
    return (value,) if isinstance(value, str) else value


def split_of(unit: str) -> str:
    """The split of a shard `<split>/<number>`."""
    return unit.rsplit("/", 1)[0]


def number_of(unit: str) -> int:
    """The number of a shard `<split>/<number>`."""
    return int(unit.rsplit("/", 1)[1])


def cut(keys: Sequence[str], size: int) -> Shards:
    """Cuts keys into shards of `size`; the last may be shorter."""
    return tuple(tuple(keys[start : start + size]) for start in range(0, len(keys), size))


def mixed(keys: Iterable[str]) -> list[str]:
    """Keys in the order of their hashes, so that neighbours (hence shards) are of unlike classes."""
    return sorted(keys, key=lambda key: (hashlib.sha256(key.encode()).digest(), key))


def key_of(path: str) -> str:
    """The key of a file: its path without the extension, with dots as `%2E` and percent signs as `%25`.

    `path_of` undoes it.
    """
    return safe_key(posixpath.splitext(path)[0])


def safe_key(stem: str) -> str:
    """A name with dots as `%2E` and percent signs as `%25`: a tar member's name ends at its first dot."""
    return stem.replace("%", "%25").replace(".", "%2E")


def path_of(key: str) -> str:
    """The path, without extension, that `key_of` made a key of."""
    return key.replace("%2E", ".").replace("%25", "%")


def check_keys(keys: Iterable[str], where: str) -> None:
    """Raises `ConfigError` naming `where` for a key that comes twice or can't name a tar's member."""
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise ConfigError(f"{where} lists {key!r} twice")
        # A tar member's name ends at its first dot.
        if not key or "." in key or key.startswith("/") or "\\" in key:
            raise ConfigError(f"{where}: {key!r} can't be a key: no dots, no absolute paths")
        seen.add(key)


def parse_list(text: bytes) -> list[list[str]]:
    """The columns of each line of a list that has any."""
    lines = (line.split() for line in text.decode("utf-8", "replace").splitlines())
    return [columns for columns in lines if columns]


def parse_categories(text: bytes, where: str) -> tuple[str, ...]:
    """Parses a list of categories, one a line; raises `ConfigError` naming `where` for an empty or doubled list."""
    names = [line.strip() for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    return checked_categories(names, where)


def checked_categories(names: Sequence[str], where: str) -> tuple[str, ...]:
    """The categories; raises `ConfigError` naming `where` if there are none or one comes twice."""
    if not names:
        raise ConfigError(f"{where} holds no categories")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConfigError(f"{where} names the category {name!r} twice")
        seen.add(name)
    return tuple(names)


def parse_table(text: bytes, columns: Sequence[str], where: str) -> list[dict[str, str]]:
    """Rows of a CSV file with a header; raises `ConfigError` naming `where` for a missing column or a short row."""
    rows = csv.DictReader(io.StringIO(text.decode("utf-8-sig", "replace"), newline=""))
    for column in columns:
        if column not in (rows.fieldnames or ()):
            raise ConfigError(f"{where} has no column {column!r}; it has: {', '.join(rows.fieldnames or ()) or 'none'}")
    found = list(rows)
    for number, row in enumerate(found, 2):
        if any(row[column] is None for column in columns):
            raise ConfigError(f"{where}: line {number} is cut short")
    return found


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
