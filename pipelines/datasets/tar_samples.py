"""Existing webdataset tars: an image and its label or annotation a sample, an input tar a shard."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.artifacts.image_tars import read_samples
from pipelines.datasets.file_names import FoundFile, find_files, read_file
from pipelines.datasets.sources import (
    IMAGE_EXTENSIONS,
    DatasetConfig,
    RawImage,
    Shards,
    as_tuple,
    check_keys,
    checked_categories,
    number_of,
    parse_categories,
    safe_key,
    split_of,
)
from pipelines.engine.fingerprint import content_digest
from sppnet.errors import ConfigError, DataError
from sppnet.images.decoding import probe_size

_READERS = 2
_HASHED_BYTES = 1 << 28


def _as_lists(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {split: as_tuple(names) for split, names in value.items()}


class TarsDataset(DatasetConfig):
    """Webdataset tars: members `<key>.jpg` (or another image) with `<key>.json`, `.cls` or `.txt`.

    `.json` holds an annotation as sppnet writes it (other JSON is passed over); `.cls` the number of a category,
    `.txt` its name: then the one object covers the image. A tar is a shard, in the order of its members. To list
    their keys, the tars are read once when the step starts.

    Attributes:
        kind: `tars`.
        root: What paths that are not absolute are relative to.
        splits: By split, tars as paths or URIs, with `{000..123}`, `{a,b}` and, in the file's name, globs.
        labelled: Whether a sample without a label is quarantined (`no-label`); else it has no objects.
        categories: The categories in order; by default all labels that are found.
        categories_file: Their list, one a line, instead of `categories`.
        edition: Any text. Tars of more than 256 MiB in all are told apart by their names and sizes only: change
            this where they are replaced by others of the same names and sizes.
    """

    kind: Literal["tars"] = "tars"
    root: str = ""
    splits: Annotated[Mapping[str, tuple[str, ...]], BeforeValidator(_as_lists)]
    labelled: bool = True
    categories: tuple[str, ...] | None = None
    categories_file: str | None = None
    edition: str = ""

    def open(self) -> Tars:
        """See `DatasetConfig.open`."""
        return Tars(self)


class Tars:
    """A data set of webdataset tars.

    Args:
        config: The data set's config.
    """

    def __init__(self, config: TarsDataset) -> None:
        self._config = config
        self._samples = lru_cache(maxsize=1)(_read)
        self.splits = tuple(config.splits)

    def shards(self, split: str, size: int) -> Shards:
        """See `DataSet`: a tar is a shard, whatever `size` says.

        Raises:
            ConfigError: A tar without samples, or a key that is in two tars of the split.
        """
        shards = tuple(self._index[tar][0] for tar in self._tars[split])
        for tar, keys in zip(self._tars[split], shards, strict=True):
            if not keys:
                raise ConfigError(f"{tar.uri} holds no samples")
        check_keys((key for keys in shards for key in keys), f"split {split!r} of the tars")
        return shards

    def categories(self) -> tuple[str, ...]:
        """The config's, or all that are found: numbers in order, then names in order."""
        if self._given is not None:
            return self._given
        found = {label for _, labels in self._index.values() for label in labels}
        return tuple(
            sorted(found, key=lambda label: (not label.isdigit(), int(label) if label.isdigit() else 0, label))
        )

    def names(self) -> Mapping[str, str]:
        """None."""
        return {}

    def describe(self) -> Mapping[str, Any]:
        """See `DataSet`: the tars' names and sizes, and their content where that is little."""
        tars = [tar for tars in self._tars.values() for tar in tars]
        small = sum(tar.size for tar in tars) <= _HASHED_BYTES

        def row(tar: FoundFile) -> list[Any]:
            return [tar.name, tar.size, content_digest(tar.read()) if small else None]

        return {
            "tars": {split: [row(tar) for tar in tars] for split, tars in self._tars.items()},
            "labelled": self._config.labelled,
            "categories": None if self._given is None else list(self._given),
            "edition": self._config.edition,
        }

    def fetch(self, unit: str, key: str) -> RawImage:
        """See `DataSet`; raises `missing-image`, `several-images`, `no-label`, `unknown-category`, `bad-annotation`."""
        members = self._samples(self._tars[split_of(unit)][number_of(unit)]).get(key, {})
        images = [extension for extension in members if extension in IMAGE_EXTENSIONS]
        if len(images) != 1:
            reason = "several-images" if images else "missing-image"
            raise DataError(reason, f"{key}: the sample has the members {', '.join(members) or 'none'}")
        data = members[images[0]]
        return RawImage(data, images[0].lower(), self._annotation(key, members, probe_size(data)))

    def _annotation(self, key: str, members: Mapping[str, bytes], size: tuple[int, int]) -> ImageAnnotation:
        annotation = _own_json(key, members)
        if annotation is not None:
            return annotation
        label = _label(key, members)
        if label is None and self._config.labelled:
            raise DataError("no-label", f"{key}: neither an annotation (.json) nor a label (.cls, .txt)")
        whole = (0.0, 0.0, float(size[0]), float(size[1]))
        things = () if label is None else (ObjectAnnotation(self._category(key, label), whole),)
        return ImageAnnotation(key, *size, things)

    def _category(self, key: str, label: int | str) -> str:
        if isinstance(label, str) or self._given is None:
            return str(label)
        if not 0 <= label < len(self._given):
            raise DataError("unknown-category", f"{key}: class {label}, but there are {len(self._given)} categories")
        return self._given[label]

    @cached_property
    def _given(self) -> tuple[str, ...] | None:
        config = self._config
        if config.categories_file is not None:
            return parse_categories(read_file(config.categories_file, config.root), config.categories_file)
        return None if config.categories is None else checked_categories(config.categories, "categories")

    @cached_property
    def _tars(self) -> dict[str, tuple[FoundFile, ...]]:
        return {split: find_files(patterns, self._config.root) for split, patterns in self._config.splits.items()}

    @cached_property
    def _index(self) -> dict[FoundFile, tuple[tuple[str, ...], frozenset[str]]]:
        """Keys and labels of every tar."""
        tars = list(dict.fromkeys(tar for tars in self._tars.values() for tar in tars))
        with ThreadPoolExecutor(_READERS) as pool:
            return dict(zip(tars, pool.map(_index_of, tars), strict=True))


def _read(tar: FoundFile) -> dict[str, dict[str, bytes]]:
    return {safe_key(name): members for name, members in read_samples(tar.read(), tar.uri).items()}


def _index_of(tar: FoundFile) -> tuple[tuple[str, ...], frozenset[str]]:
    samples = _read(tar)
    return tuple(samples), frozenset(label for key, members in samples.items() for label in _labels(key, members))


def _labels(key: str, members: Mapping[str, bytes]) -> Iterator[str]:
    """The categories that a sample names; none if what it says can't be read, which `fetch` will tell."""
    try:
        annotation = _own_json(key, members)
        label = None if annotation is not None else _label(key, members)
    except DataError:
        return
    if annotation is not None:
        yield from (thing.category for thing in annotation.objects)
    elif label is not None:
        yield str(label)


def _own_json(key: str, members: Mapping[str, bytes]) -> ImageAnnotation | None:
    """The sample's annotation, if it has one of ours; raises `DataError("bad-annotation")` for a broken one."""
    if "json" not in members:
        return None
    try:
        body = json.loads(members["json"])
        if not isinstance(body, dict) or "objects" not in body:
            return None
        return ImageAnnotation.from_json({**body, "key": key})
    except ValueError as error:
        raise DataError("bad-annotation", f"{key}: {error}") from error


def _label(key: str, members: Mapping[str, bytes]) -> int | str | None:
    """The number or name of the sample's class; raises `DataError("bad-annotation")` for one that is neither."""
    if "cls" in members:
        try:
            return int(members["cls"])
        except ValueError as error:
            raise DataError("bad-annotation", f"{key}: .cls is not a number: {error}") from None
    return members["txt"].decode("utf-8", "replace").strip() or None if "txt" in members else None
