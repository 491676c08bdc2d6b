"""What every kind of data set offers: its images as it lists them, and each one's bytes and annotation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel, BeforeValidator, ConfigDict

from pipelines.artifacts.annotations import ImageAnnotation, Number
from pipelines.datasets.contents import Contents
from pipelines.engine.fingerprint import canonical_json, content_digest


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a split, as its data set lists it; nothing of the image is decoded.

    Attributes:
        key: The image's key.
        image: `ImageFile.digest` of the image; None where there is no image file.
        label: Digest of all that the annotation is made from: the annotation file or the tables' rows, and the options
            that change it. Of images with equal bytes and keys, equal labels mean equal annotations. It never tells
            where the data set lies.
        group: Of data sets that come in shards: the shard's name, unique in the split. Items of one group follow one
            another and stay together in one shard.
        files: The image's files as they were listed, by their paths below the root: one; none, or several of one name,
            which can't be told apart. None of images that are no files of their own.
    """

    key: str
    image: str | None
    label: str
    group: str = ""
    files: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where an item is: what its image and its annotation are asked for by.

    Attributes:
        split: The item's split.
        group: Its group.
        key: Its key.
        files: Its files; None where they are not known: the image is looked for by its key then.
    """

    split: str
    group: str
    key: str
    files: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file as its data set gives it.

    Attributes:
        data: Its bytes, untouched.
        extension: Lower case, without the dot.
        made_from: Of an image that is made here and not read: the digest of all that it is made from; else None.
    """

    data: bytes
    extension: str
    made_from: str | None = None

    @property
    def digest(self) -> str:
        """What the image is known by: the SHA-256 of its bytes in hexadecimal, or of what it is made from."""
        return content_digest(self.data) if self.made_from is None else self.made_from


class DataSet(Protocol):
    """A data set of any kind.

    It is built on the driver and on every worker, and reads nothing when it is built. `image`, `annotation` and
    `label` need no listing: workers in other processes call them alone.
    """

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits to ingest."""

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """List a split's images in the data set's order; read only files that `contents` doesn't know.

        Raises:
            ConfigError: No such split, an empty one, a key twice, or a key that can't be one.
        """

    def places(self, split: str) -> Sequence[Place]:
        """List where a split's images are, in the order of `items`, without reading any image file.

        Raises:
            ConfigError: See `items`.
        """

    def count(self, split: str) -> int:
        """Count a split's images, without reading any image file.

        Raises:
            ConfigError: See `items`.
        """

    def categories(self, contents: Contents) -> tuple[str, ...]:
        """Return the categories that annotations may name, in order."""

    def names(self) -> Mapping[str, str]:
        """Return words for people by category, where categories are codes such as wnids; or nothing."""

    def image(self, place: Place) -> ImageFile:
        """Read an image file.

        Raises:
            DataError: `missing-image`, `several-images`.
        """

    def annotation(self, place: Place, width: int, height: int) -> ImageAnnotation:
        """Read an image's annotation; boxes and categories are not checked.

        Args:
            place: Where the image is.
            width: Pixels of the decoded image, used where the data set doesn't say them.
            height: Likewise.

        Raises:
            DataError: `missing-annotation`, `bad-annotation`, `no-label`, `no-box`, `bad-box`, `unknown-category`.
        """

    def label(self, place: Place) -> str:
        """Return what `Item.label` is, from what `annotation` reads now."""


@runtime_checkable
class NumbersCategories(Protocol):
    """A data set whose own files have numbers for categories, which results in its format name them by."""

    def category_numbers(self, contents: Contents) -> Mapping[str, Number]:
        """Return the numbers by category; raise like `DataSet.items`."""


class DatasetConfig(BaseModel, ABC):
    """Base of the configs of all kinds of data sets: frozen, unknown keys refused.

    Attributes:
        kind: The kind's name.
        root: Folder or object-store prefix; other paths are relative to it.
        usual_categories: How many categories data sets of the kind have, if they have the same number; not a field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    usual_categories: ClassVar[int | None] = None

    kind: str
    root: str

    def place(self) -> Any:
        """Return where the data set lies, as JSON values: whatever is asked of it there, its shards are cut alike."""
        return [self.kind, self.root]

    def roots(self) -> tuple[str, ...]:
        """Return the folders and object-store prefixes that have to be there where it is read."""
        return (self.root,) if self.root else ()

    def steady(self) -> str:
        """Say what has to stay the same while a run reads the data set, for the run that finds something else."""
        return "run again when nothing writes to the data set"

    @abstractmethod
    def open(self) -> DataSet:
        """Open the data set; raise `ConfigError` for a root that names no store."""


def as_tuple(value: Any) -> Any:
    """Return a single string as a tuple of one, for fields that take one or several; anything else as it is."""
    return (value,) if isinstance(value, str) else value


ONE_OR_SEVERAL = BeforeValidator(as_tuple, json_schema_input_type=str | tuple[str, ...])
"""Lets a field of a tuple of strings be given as one string too."""


def label_of(kind: str, **made_from: Any) -> str:
    """Return `Item.label` for a kind of data set and all that its annotation is made from, as JSON values."""
    return content_digest(canonical_json({"kind": kind, **made_from}).encode())
