"""Folders of Hugging Face's `datasets`: Parquet files with a column of images, and one of classes or of objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache, partial
from typing import Annotated, Any, Literal, cast

from pydantic import Field

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.artifacts.parquet import ObjectFile
from pipelines.datasets.boxes_given import GivenBoxes, choose_categories, mend_boxes
from pipelines.datasets.contents import JSON, Contents
from pipelines.datasets.file_names import FoundFile, find_files
from pipelines.datasets.hugging_face_rows import BoxForm, Row, RowColumns, RowFile, annotation_of_row, image_of_row
from pipelines.datasets.keys import check_keys, check_split, safe_key
from pipelines.datasets.protocol import ONE_OR_SEVERAL, DatasetConfig, ImageFile, Item, Place, label_of
from pipelines.engine.commits import BROKEN_SHARD, EMPTY_SHARD
from pipelines.engine.fingerprint import content_digest
from pipelines.engine.store import open_store
from sppnet.errors import ArtifactError, DataError

_NOTHING = ""
_MARK = "#"
"""Between a file and the number of a row group, in the name of a group."""


class HuggingFaceDataset(DatasetConfig):
    """Parquet files as Hugging Face's `datasets` keeps them. A row group is a shard, in the order of its rows.

    A key is the file's path without its extension, and the row's number in it from 0: `data/train-0-of-2/000012`.
    A row's objects are those of its column of objects; without that column it has one object, of its class, which
    covers the image. Files that are new or changed are read once when the step is planned. A file that is broken or
    empty is set aside by its name.

    Attributes:
        kind: `hugging-face`.
        root: Folder or object-store prefix.
        splits: By split, its files below the root, with `{000..123}`, `{a,b}` and globs.
        image: The column of images.
        label: The column of classes.
        objects: The column of objects, with `bbox` and `category`, perhaps `area` and `iscrowd`.
        boxes: How boxes are told, in pixels: `xywh`, or corners, `xyxy`.
        categories: Those that are taken, in order; by default the features' names, or all that come, sorted. Objects
            of others are left out.
        bad_boxes: What becomes of a box without area or that leaves its image, see `GivenBoxes`.
    """

    kind: Literal["hugging-face"] = "hugging-face"
    splits: Annotated[
        Mapping[str, Annotated[tuple[str, ...], ONE_OR_SEVERAL, Field(min_length=1)]], Field(min_length=1)
    ]
    image: str = "image"
    label: str = "label"
    objects: str = "objects"
    boxes: BoxForm = "xywh"
    categories: tuple[str, ...] | None = None
    bad_boxes: GivenBoxes = "quarantine"

    def open(self) -> HuggingFace:
        """See `DatasetConfig.open`."""
        return HuggingFace(self)


class HuggingFace:
    """A data set of Parquet files.

    Args:
        config: The data set's config.
    """

    def __init__(self, config: HuggingFaceDataset) -> None:
        self._config = config
        self._columns = RowColumns(config.image, config.label, config.objects, config.boxes)
        self._opened = lru_cache(maxsize=1)(self._open)
        self._rows = lru_cache(maxsize=1)(self._read)  # a shard is a row group
        self.splits = tuple(config.splits)

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """See `DataSet`: a row group is a group.

        Raises:
            ConfigError: Also for a file without such columns.
        """
        found = []
        for file in self._files(split):
            for group, rows in self._summary(file, contents)["groups"]:
                name = f"{file.given}{_MARK}{group}"
                found += [Item(key, image, self._label(said), name) for key, image, said in rows]
        check_keys((item.key for item in found), f"split {split!r}")
        return found

    def places(self, split: str) -> Sequence[Place]:
        """See `DataSet`; of the files only their ends are read."""
        found = []
        for file in self._files(split):
            try:
                sizes = self._opened(file.given).sizes
            except ArtifactError:  # it is set aside by its name
                sizes = []
            for group, keys in _keys(file, sizes):
                found += [Place(split, f"{file.given}{_MARK}{group}", key) for key in keys]
        return found

    def count(self, split: str) -> int:
        """See `DataSet`; of the files only their ends are read."""
        return len(self.places(split))

    def categories(self, contents: Contents) -> tuple[str, ...]:
        """Return the config's, or the names of the files' features, or all that come, sorted.

        Raises:
            ConfigError: There is none of the config's.
        """
        summaries = [self._summary(file, contents) for split in self.splits for file in self._files(split)]
        named = dict.fromkeys(name for summary in summaries for name in summary["classes"])
        come = sorted({name for summary in summaries for name in summary["categories"]})
        return choose_categories(self._config.categories, tuple(named) or tuple(come), self._config.root)

    def names(self) -> Mapping[str, str]:
        """Return none: categories are words."""
        return {}

    def image(self, place: Place) -> ImageFile:
        """See `DataSet`."""
        return image_of_row(self._row(place), self._columns, place.key)

    def annotation(self, place: Place, width: int, height: int) -> ImageAnnotation:
        """See `DataSet`.

        Raises:
            DataError: See `annotation_of_row`.
        """
        row = self._row(place)
        found = annotation_of_row(row, self._columns, self._classes(place), place.key, width, height)
        chosen = self._config.categories
        things = (thing for thing in found.objects if chosen is None or thing.category in chosen)
        return ImageAnnotation(
            place.key, width, height, tuple(mend_boxes(things, width, height, self._config.bad_boxes))
        )

    def label(self, place: Place) -> str:
        """See `DataSet`: of the row's class or objects, by name."""
        try:
            row = self._row(place)
        except DataError:  # a whole file, or a part of it, is set aside
            return self._label(_NOTHING)
        return self._label(_said(row, self._columns, self._classes(place))[0])

    def _label(self, said: str) -> str:
        return label_of("hugging-face", said=said, bad_boxes=self._config.bad_boxes)

    def _classes(self, place: Place) -> tuple[str, ...]:
        return self._opened(place.group.rpartition(_MARK)[0]).classes

    def _row(self, place: Place) -> Row:
        """Return an image's row; raise `DataError` `shard-broken`, or `shard-empty` for a file without rows."""
        try:
            found = self._rows(place.group).get(place.key)
        except ArtifactError as error:
            raise DataError(BROKEN_SHARD, f"{place.key}: {error}") from error
        if found is None:
            raise DataError(EMPTY_SHARD, f"{place.key}: {place.group.rpartition(_MARK)[0]} has no such row")
        return found

    def _read(self, group: str) -> dict[str, Row]:
        given, _, number = group.rpartition(_MARK)
        file = self._opened(given)
        (found,) = find_files([given], self._config.root, "dataset.splits")
        keys = dict(_keys(found, file.sizes))
        return dict(zip(keys[number], file.rows(int(number)), strict=True)) if number in keys and number else {}

    def _open(self, given: str) -> RowFile:
        """Open a file of which only what is asked for is read."""
        (found,) = find_files([given], self._config.root, "dataset.splits")
        store = open_store(found.folder)
        size = next(entry.size for entry in store.list(found.name) if entry.name == found.name)
        return RowFile(ObjectFile(store, found.name, size), self._columns, found.uri)

    def _summary(self, file: FoundFile, contents: Contents) -> dict[str, Any]:
        summarise = partial(_summarise, columns=self._columns, file=file)
        kind = f"hugging-face-{content_digest(repr(self._columns).encode())[:12]}"
        (found,) = contents.of([file.seen()], summarise, kind)  # one at a time: files are read whole
        return cast(dict[str, Any], found)

    def _files(self, split: str) -> tuple[FoundFile, ...]:
        check_split(split, self.splits)
        return self._found[split]

    @cached_property
    def _found(self) -> dict[str, tuple[FoundFile, ...]]:
        given = self._config.splits.items()
        return {split: find_files(names, self._config.root, f"dataset.splits.{split}") for split, names in given}


def _keys(file: FoundFile, sizes: Sequence[int]) -> list[tuple[str, list[str]]]:
    """Return the names of a file's row groups with the keys of their rows; of a file without any its own, in none."""
    stem = safe_key(file.given.rpartition("://")[2].lstrip("/~.").removesuffix(".parquet"))
    found, first = [], 0
    for group, size in enumerate(sizes):
        found.append((str(group), [f"{stem}/{row:06d}" for row in range(first, first + size)]))
        first += size
    return found if first else [("", [stem])]


def _summarise(data: bytes, columns: RowColumns, file: FoundFile) -> JSON:
    """Summarise a file: by row group, each row's key, image and what is said of it; its classes, those that come."""
    come: set[str] = set()
    try:
        rows = RowFile(data, columns, file.uri)
    except ArtifactError:  # which the first who reads it will tell
        return {"groups": _unread(_keys(file, [])), "classes": [], "categories": []}
    groups: list[JSON] = []
    for group, keys in _keys(file, rows.sizes):
        try:
            found = rows.rows(int(group)) if group else []
        except ArtifactError:
            found = []
        if not found:
            groups += _unread([(group, keys)])
            continue
        told: list[JSON] = []
        for key, row in zip(keys, found, strict=True):
            said, named = _said(row, columns, rows.classes)
            come.update(named)
            told.append([key, _digest(row, columns), said])
        groups.append([group, told])
    return {"groups": groups, "classes": [*rows.classes], "categories": [*sorted(come)]}


def _unread(groups: Sequence[tuple[str, Sequence[str]]]) -> list[JSON]:
    """Return the summary of row groups that can't be read: rows without an image, of which nothing is said."""
    return [[group, [[key, None, _NOTHING] for key in keys]] for group, keys in groups]


def _digest(row: Row, columns: RowColumns) -> str | None:
    try:
        return image_of_row(row, columns, "").digest
    except DataError:
        return None


def _said(row: Row, columns: RowColumns, classes: Sequence[str]) -> tuple[str, set[str]]:
    """Return a digest of what a row says of its image, and the categories that it names."""
    try:
        things = annotation_of_row(row, columns, classes, "", 1, 1).objects
    except DataError as error:
        return content_digest(str(error).encode()), set()
    return content_digest(repr(things).encode()), {thing.category for thing in things}
