"""What a store is: whole objects under one root."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sppnet.errors import IncompleteError, UnreadableError


class StoreUnreachableError(IncompleteError, ConnectionError):
    """The store or the network failed at every try; what was committed is kept, and running again goes on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing.

    Attributes:
        name: Path relative to the store's root.
        size: Bytes.
        modified: Seconds since the epoch.
        stamp: Changes whenever the object does; it says nothing else.
        trouble: Why it can't be read, where the listing knows; see `Store.survey`.
    """

    name: str
    size: int
    modified: float
    stamp: str
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Leftover:
    """What is left of a put that was cut off, and what no listing shows: a file written aside, parts of an upload.

    Attributes:
        name: Of the object that was to be, or of the file aside.
        size: Bytes.
        modified: When it was begun or last written, seconds since the epoch.
        upload: The store's own name of an upload; empty for a file.
    """

    name: str
    size: int
    modified: float
    upload: str = ""


class Store(ABC):
    """Whole objects under one root. Build it with `open_store`; pickling carries the URI only, never a secret."""

    uri: str

    @abstractmethod
    def read(self, name: str, most: int | None = None) -> bytes:
        """Return the object's bytes.

        Args:
            name: The object.
            most: Most bytes that it may have; None for any number.

        Raises:
            ArtifactError: There is none.
            UnreadableError: It has more bytes, is no regular file, or is one without rights.
        """

    @abstractmethod
    def read_range(self, name: str, start: int, size: int) -> bytes:
        """Return `size` bytes of the object from `start` on, fewer at its end; raises like `read`."""

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Publish an object under a name that is used once."""

    @abstractmethod
    def put_file(self, name: str, path: Path) -> None:
        """Publish a file of this machine under a name, however large it is; the file may be gone after."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Publish an object if the name is free; return whether it did."""

    @abstractmethod
    def list(self, prefix: str = "") -> list[Entry]:
        """List all objects whose name starts with the folder `prefix`, sorted by name. Never from a cache."""

    def survey(self, prefix: str = "") -> Sequence[Entry]:
        """List like `list`, with what is there and can't be read: links to nothing, pipes, closed folders."""
        return self.list(prefix)

    @abstractmethod
    def folders(self) -> tuple[str, ...]:
        """List the names of the folders right below the root, sorted, however much is in them."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove an object; a missing one is no error."""

    @abstractmethod
    def leftovers(self) -> Sequence[Leftover]:
        """List what puts that were cut off have left anywhere in the store; puts that go on are among them."""

    @abstractmethod
    def discard(self, leftover: Leftover) -> None:
        """Remove what a put has left; a missing one is no error."""

    def remove_folder(self, name: str) -> None:  # noqa: B027  # most stores have no folders
        """Remove a folder in which no object is left."""

    def entry(self, name: str) -> Entry | None:
        """Return what a listing tells of one object; None if it is not there."""
        return next((entry for entry in self.list(name) if entry.name == name), None)

    def exists(self, name: str) -> bool:
        """Tells whether the object is there."""
        return self.entry(name) is not None

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return type(self), (self.uri,)

    def __repr__(self) -> str:
        return f"Store({self.uri})"


def check_length(where: str, size: int, most: int | None) -> None:
    """Raise `UnreadableError` for an object of more bytes than may be read."""
    if most is not None and size > most:
        raise UnreadableError("file-too-large", f"{where} has {size} bytes, the limit is {most}")
