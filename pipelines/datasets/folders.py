"""Class folders: an image's class is the folder it is in; tables beside them may say more."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.datasets.class_tables import BoxTable, ClassTable
from pipelines.datasets.sources import (
    DatasetConfig,
    Folder,
    RawImage,
    Reader,
    Shards,
    as_tuple,
    check_keys,
    checked_categories,
    cut,
    is_image,
    key_of,
    mixed,
    parse_list,
    path_of,
    split_of,
)
from pipelines.engine.store import LocalStore, open_store
from sppnet.errors import ConfigError, DataError
from sppnet.images.decoding import probe_size


def _as_table(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class ClassColumns(BaseModel):
    """A CSV file that says what each class folder is, and which columns to read. Defaults are DET's words.

    Attributes:
        path: The file, below the root.
        folder: Column with the folder's name.
        category: Column with the category.
        subcategory: Column with the subcategory, or None if there is none.
        name: Column with the category's name for people, or None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    folder: str = "wnid"
    category: str = "det_category_wnid"
    subcategory: str | None = "wnid"
    name: str | None = "det_category"


class FoldersDataset(DatasetConfig):
    """Class folders: `<root>/<split>/<class>/**/<image>`, or `<root>/<class>/**/<image>`.

    A key is `<class>/<file>` without the extension (see `key_of`). Each image shows one object of its class, which
    covers it, unless `boxes` say where it is. Keys are in the order of their hashes, so that shards mix the classes.

    Attributes:
        kind: `folders`.
        root: Folder or object-store prefix.
        splits: Names of the split folders, by default `train` and `val`; if `flat`, the one name that all images go by.
        flat: Whether the class folders lie directly below the root.
        split_files: Lists by split, for class folders directly below the root: a line holds `<class>/<file>`.
        categories: The classes in order; by default all folders, sorted. Images of other folders are quarantined.
        skip: Class folders that are left out.
        max_per_class: At most so many images of each class folder and split, those whose keys' hashes come first.
        boxes: CSV files below the root with the columns file (below the root), xmin, ymin, xmax, ymax (inclusive).
        first_pixel: The coordinate of an image's first pixel in `boxes`.
        classes: A CSV file with each folder's category and subcategory.
        bad_boxes: What becomes of an image whose boxes have no area or are missing: `quarantine`, or `whole-image`:
            its object covers it.
    """

    kind: Literal["folders"] = "folders"
    splits: tuple[str, ...] | None = None
    flat: bool = False
    split_files: Mapping[str, str] | None = None
    categories: tuple[str, ...] | None = None
    skip: tuple[str, ...] = ()
    max_per_class: Annotated[int, Field(ge=1)] | None = None
    boxes: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    first_pixel: Literal[0, 1] = 0
    classes: Annotated[ClassColumns | None, BeforeValidator(_as_table)] = None
    bad_boxes: Literal["quarantine", "whole-image"] = "quarantine"

    @model_validator(mode="after")
    def _check(self) -> FoldersDataset:
        if self.split_files is not None and (self.splits is not None or self.flat):
            raise ValueError("split_files name the splits: leave out splits and flat")
        if self.flat and self.splits is not None and len(self.splits) != 1:
            raise ValueError("flat folders hold one split: give splits one name, or split_files")
        if self.classes is not None and self.categories is not None:
            raise ValueError("classes give the categories: leave out categories")
        return self

    def open(self) -> ClassFolders:
        """See `DatasetConfig.open`."""
        return ClassFolders(open_store(self.root), self)


class ClassFolders:
    """A data set of class folders.

    Args:
        reader: Gives the files below the root.
        config: The data set's config.
    """

    def __init__(self, reader: Reader, config: FoldersDataset) -> None:
        self._reader = reader
        self._folder = Folder(reader)
        self._config = config
        self.splits = tuple(config.split_files or config.splits or (("all",) if config.flat else ("train", "val")))

    def shards(self, split: str, size: int) -> Shards:
        """See `DataSet`; raises `ConfigError` also for a class folder without images."""
        return cut(mixed(self._keys[split]), size)

    def categories(self) -> tuple[str, ...]:
        """The config's, or those of its table, or the names of all class folders, sorted.

        Raises:
            ConfigError: There are none, one comes twice, or one has no images in any split.
        """
        config = self._config
        if self._classes is not None:
            return self._classes.categories
        found = {path_of(_class_of(key)) for keys in self._keys.values() for key in keys}
        if config.categories is None:
            return tuple(sorted(found))
        for name in checked_categories(config.categories, "categories"):
            if name not in found:
                raise ConfigError(f"category {name!r} has no images in {self._folder.where('')}".rstrip("/"))
        return config.categories

    def names(self) -> Mapping[str, str]:
        """See `DataSet`: of the table of classes."""
        return self._classes.names if self._classes else {}

    def describe(self) -> Mapping[str, Any]:
        """See `DataSet`: keys with file names and sizes; what the tables say of them."""
        config = self._config
        listing = {split: {key: list(row) for key, row in keys.items()} for split, keys in self._keys.items()}
        tables = [*config.boxes, *([config.classes.path] if config.classes else [])]
        return {
            "listing": listing,
            "categories": list(self.categories()),
            "tables": self._folder.digests(tables),
            "options": config.model_dump(mode="json", include={"first_pixel", "bad_boxes", "classes"}),
        }

    def fetch(self, unit: str, key: str) -> RawImage:
        """See `DataSet`; raises also `no-box`, `bad-box` and `unknown-category` (a folder that the table lacks)."""
        stem = self._prefix(split_of(unit)) + path_of(key)
        data, extension = self._folder.image(stem, key)
        width, height = probe_size(data)
        folder = path_of(_class_of(key))
        category, subcategory = self._classes.of(folder, key) if self._classes else (folder, None)
        boxes = [(0.0, 0.0, float(width), float(height))]
        if self._boxes is not None:
            try:
                boxes = self._boxes.of(stem, key)
            except DataError:
                if self._config.bad_boxes == "quarantine":
                    raise
        things = tuple(ObjectAnnotation(category, box, subcategory) for box in boxes)
        return RawImage(data, extension, ImageAnnotation(key, width, height, things))

    def _prefix(self, split: str) -> str:
        return "" if self._config.flat or self._config.split_files else f"{split}/"

    @cached_property
    def _keys(self) -> dict[str, dict[str, tuple[str, int]]]:
        """By split, every key with its file's name and bytes."""
        if self._config.split_files:
            found = self._listed(self._config.split_files)
        else:
            found = {split: self._found(self._prefix(split), split) for split in self.splits}
        return {split: self._at_most(keys) for split, keys in found.items()}

    def _at_most(self, keys: dict[str, tuple[str, int]]) -> dict[str, tuple[str, int]]:
        """The keys that `max_per_class` leaves."""
        limit = self._config.max_per_class
        if limit is None:
            return keys
        taken: Counter[str] = Counter()
        kept = set()
        for key in mixed(keys):
            name = _class_of(key)
            if taken[name] < limit:
                taken[name] += 1
                kept.add(key)
        return {key: row for key, row in keys.items() if key in kept}

    def _found(self, prefix: str, split: str) -> dict[str, tuple[str, int]]:
        """Keys of a folder of class folders."""
        where = self._folder.where(prefix).rstrip("/")
        images = self._images(prefix)
        if not images:
            raise ConfigError(f"split {split!r} has no class folders with images: {where}")
        check_keys(map(key_of, images), where)
        return {key_of(name): (posixpath.basename(name), size) for name, size in images.items()}

    def _listed(self, lists: Mapping[str, str]) -> dict[str, dict[str, tuple[str, int]]]:
        """Keys of lists; a listed image that is not there stays a key, and is quarantined as missing."""
        by_key = {key_of(name): (posixpath.basename(name), size) for name, size in self._images("").items()}
        found = {}
        for split, path in lists.items():
            lines = parse_list(self._folder.need(path, f"list of split {split!r}"))
            names = [" ".join(line) for line in lines]  # a class folder's name may have spaces
            keys = [key_of(name) if is_image(name) else key_of(name + ".jpg") for name in names]
            if not keys:
                raise ConfigError(f"split {split!r} is empty: {self._folder.where(path)}")
            check_keys(keys, self._folder.where(path))
            found[split] = {key: by_key.get(key, ("", 0)) for key in keys}
        return found

    def _images(self, prefix: str) -> dict[str, int]:
        """Bytes of all images in class folders, by their paths below `prefix`.

        Raises:
            ConfigError: A class folder has no image; it is named.
        """
        inside = {name.removeprefix(prefix): size for name, size in self._folder.files(prefix.rstrip("/")).items()}
        inside = {name: size for name, size in inside.items() if "/" in name and self._wanted(name)}
        images = {name: size for name, size in inside.items() if is_image(name)}
        folders = {_class_of(name) for name in inside} | self._local_folders(prefix)
        for name in sorted(folders - {_class_of(name) for name in images}):
            raise ConfigError(f"class folder {self._folder.where(prefix + name)} has no images")
        return images

    def _local_folders(self, prefix: str) -> set[str]:
        """Class folders on a disk: a listing has files only, and a folder may have none."""
        if not isinstance(self._reader, LocalStore):
            return set()
        place = self._reader.root / prefix
        names = {path.name for path in place.iterdir() if path.is_dir()} if place.is_dir() else set()
        return {name for name in names if self._wanted(name) and not name.startswith(".")}

    def _wanted(self, name: str) -> bool:
        return _class_of(name) not in self._config.skip

    @cached_property
    def _classes(self) -> ClassTable | None:
        columns = self._config.classes
        if columns is None:
            return None
        text = self._folder.need(columns.path, "table of classes")
        return ClassTable.parse(text, columns.model_dump(exclude={"path"}), self._folder.where(columns.path))

    @cached_property
    def _boxes(self) -> BoxTable | None:
        if not self._config.boxes:
            return None
        tables = [(self._folder.need(path, "table of boxes"), self._folder.where(path)) for path in self._config.boxes]
        return BoxTable.parse(tables, self._config.first_pixel)


def _class_of(key: str) -> str:
    return key.split("/", 1)[0]
