"""Existing webdataset tars: an image and its label or annotation a sample, an input tar a shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache, partial
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.datasets.contents import JSON, Contents
from pipelines.datasets.file_names import FoundFile, find_files, read_file, read_given
from pipelines.datasets.keys import check_split, checked_categories, parse_categories
from pipelines.datasets.protocol import DatasetConfig, ImageFile, Item, Place, as_tuple, label_of
from pipelines.datasets.tar_listing import remembered_samples, samples_of, tar_items, tar_places
from pipelines.datasets.tar_samples import (
    Members,
    class_of,
    image_of,
    members_of,
    own_json,
    read_samples,
    tar_bytes,
    understand,
)
from sppnet.errors import DataError


def _as_lists(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {split: as_tuple(names) for split, names in value.items()}


class TarsDataset(DatasetConfig):
    """Webdataset tars: members `<key>.jpg` (or another image) with `<key>.json`, `.cls` or `.txt`.

    `.json` holds an annotation as sppnet writes it (other JSON is passed over); `.cls` the number of a category,
    `.txt` its name: then the one object covers the image. A tar is a shard, in the order of its members. Tars that
    are new or changed are read once when the step is planned. A tar that is broken, empty or unreadable is set aside
    by its name; samples that have the same key in several tars are told apart by the tars' names (`told_apart`).

    Attributes:
        kind: `tars`.
        root: What paths that are not absolute are relative to.
        splits: By split, tars as paths or URIs, with `{000..123}`, `{a,b}` and, in the file's name, globs.
        labelled: Whether a sample without a label is quarantined (`no-label`); else it has no objects.
        categories: The categories in order; by default all labels that are found.
        categories_file: Their list, one a line, instead of `categories`.
    """

    kind: Literal["tars"] = "tars"
    root: str = ""
    splits: Annotated[
        Mapping[str, tuple[str, ...]],
        BeforeValidator(_as_lists, json_schema_input_type=Mapping[str, str | tuple[str, ...]]),
    ]
    labelled: bool = True
    categories: tuple[str, ...] | None = None
    categories_file: str | None = None

    def roots(self) -> tuple[str, ...]:
        """Return the root, if a path is relative to it, and the paths that are not."""
        given = [path for paths in self.splits.values() for path in paths]
        alone = [path for path in given if "://" in path or path.startswith("/")]
        root = [self.root or "."] if len(alone) < len(given) else []
        return tuple(dict.fromkeys((*root, *alone)))

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
        self._samples = lru_cache(maxsize=1)(self._read)
        self.splits = tuple(config.splits)

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """See `DataSet`: a tar is a group."""
        check_split(split, self.splits)
        tars = self._tars[split]
        return tar_items(tars, remembered_samples(tars, contents), self._label)

    def places(self, split: str) -> Sequence[Place]:
        """See `DataSet`; the tars are read, two at a time."""
        check_split(split, self.splits)
        return tar_places(split, self._tars[split], samples_of(self._tars[split]))

    def count(self, split: str) -> int:
        """See `DataSet`; the tars are read, two at a time."""
        return len(self.places(split))

    def categories(self, contents: Contents) -> tuple[str, ...]:
        """Return the config's, or all that are found: numbers in order, then names in order."""
        if self._given is not None:
            return self._given
        tars = list(dict.fromkeys(tar for tars in self._tars.values() for tar in tars))
        whole = (samples for samples in remembered_samples(tars, contents) if not isinstance(samples, DataError))
        return tuple(sorted({label for samples in whole for sample in samples for label in sample.labels}, key=_rank))

    def names(self) -> Mapping[str, str]:
        """Return none: categories are words."""
        return {}

    def image(self, place: Place) -> ImageFile:
        """See `DataSet`."""
        return image_of(place.key, self._members(place))

    def annotation(self, place: Place, width: int, height: int) -> ImageAnnotation:
        """See `DataSet`; an object that has a label only covers the image.

        Raises:
            DataError: `no-label`, `unknown-category`, `bad-annotation`.
        """
        key, members = place.key, self._members(place)
        annotation = own_json(key, members)
        if annotation is not None:
            return annotation
        label = class_of(key, members)
        if label is None and self._config.labelled:
            raise DataError("no-label", f"{key}: neither an annotation (.json) nor a label (.cls, .txt)")
        whole = (0.0, 0.0, float(width), float(height))
        things = () if label is None else (ObjectAnnotation(self._category(key, label), whole),)
        return ImageAnnotation(key, width, height, things)

    def label(self, place: Place) -> str:
        """See `DataSet`."""
        try:
            members = self._members(place)
        except DataError:  # the whole tar is set aside
            return self._label({})
        return self._label(understand(members)[0])

    def _label(self, said: Mapping[str, JSON]) -> str:
        """Digest what a sample says as the config has it understood; of a tar that is set aside, nothing."""
        if "class" not in said:
            return label_of("tars", **said)
        label = cast(int | str | None, said["class"])
        if label is None:
            return label_of("tars", labelled=self._config.labelled)
        try:
            return label_of("tars", category=self._category("", label))
        except DataError:
            return label_of("tars", unknown=label)

    def _category(self, key: str, label: int | str) -> str:
        if isinstance(label, str) or self._given is None:
            return str(label)
        if not 0 <= label < len(self._given):
            raise DataError("unknown-category", f"{key}: class {label}, but there are {len(self._given)} categories")
        return self._given[label]

    def _members(self, place: Place) -> Members:
        return members_of(self._samples(place.group), place.group, place.key)

    def _read(self, group: str) -> Mapping[str, Members]:
        return read_samples(tar_bytes(partial(read_given, group, self._config.root)), group)

    @cached_property
    def _given(self) -> tuple[str, ...] | None:
        config = self._config
        if config.categories_file is not None:
            text = read_file(config.categories_file, config.root, "dataset.categories_file")
            return parse_categories(text, config.categories_file)
        return None if config.categories is None else checked_categories(config.categories, "dataset.categories")

    @cached_property
    def _tars(self) -> dict[str, tuple[FoundFile, ...]]:
        given = self._config.splits.items()
        return {split: find_files(names, self._config.root, f"dataset.splits.{split}") for split, names in given}


def _rank(label: str) -> tuple[bool, int, str]:
    number = int(label) if label.isdecimal() else None
    return number is None, number or 0, label
