"""What every kind of data set offers to ingest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.datasets.keys import Shards


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
