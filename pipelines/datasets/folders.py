"""Class folders: an image's class is the folder it is in; tables beside them may say more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.datasets.class_tables import BoxTable, ClassTable
from pipelines.datasets.contents import Contents, SeenFile
from pipelines.datasets.folder_files import Folder, Listing, Reader, names_of, only_one
from pipelines.datasets.keys import check_split, checked_categories, composed, is_hidden, is_image, mixed, near, path_of
from pipelines.datasets.named_images import NamedImages
from pipelines.datasets.protocol import ONE_OR_SEVERAL, DatasetConfig, ImageFile, Item, Place, label_of
from pipelines.datasets.roots import refused
from pipelines.engine.store import LocalStore, open_store
from pipelines.engine.text import text_lines
from sppnet.errors import ConfigError, DataError

_Files: TypeAlias = tuple[SeenFile, ...]
"""An image's files; none of an image that is not there, several of images whose keys clash."""


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
            [images]
        boxes: CSV files below the root with the columns file (below the root), xmin, ymin, xmax, ymax (inclusive).
        first_pixel: The coordinate of an image's first pixel in `boxes`. [pixels]
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
    boxes: Annotated[tuple[str, ...], ONE_OR_SEVERAL] = ()
    first_pixel: Literal[0, 1] = 0
    classes: Annotated[
        ClassColumns | None, BeforeValidator(_as_table, json_schema_input_type=str | ClassColumns | None)
    ] = None
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
        self._listing = lru_cache(maxsize=None)(self._list)
        self.splits = tuple(config.split_files or config.splits or (("all",) if config.flat else ("train", "val")))

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """See `DataSet`: in the order of the keys' hashes.

        Raises:
            ConfigError: Also for a class folder without images.
        """
        found = self._of(split)
        contents.leave_out(self._prefix(split), self._listing(self._prefix(split)).left_out(self._is_taken))
        digests = contents.digests_or_none(list(map(only_one, found.values())))
        rows = zip(found.items(), digests, strict=True)
        return [
            Item(key, image, self.label(Place(split, "", key)), files=names_of(files)) for (key, files), image in rows
        ]

    def places(self, split: str) -> Sequence[Place]:
        """See `DataSet`."""
        return [Place(split, "", key, names_of(files)) for key, files in self._of(split).items()]

    def count(self, split: str) -> int:
        """See `DataSet`."""
        return len(self._of(split))

    def categories(self, contents: Contents) -> tuple[str, ...]:
        """Return the config's, or those of its table, or the names of all class folders, sorted.

        Raises:
            ConfigError: There are none, one comes twice, or one has no images in any split.
        """
        config = self._config
        if self._classes is not None:
            return self._classes.categories
        found = {path_of(_class_of(key)) for keys in self._keys.values() for key in keys}
        if config.categories is None:
            return tuple(sorted(found))
        wanted = tuple(map(composed, config.categories))
        for name in checked_categories(wanted, "dataset.categories"):
            if name not in found:
                where = self._folder.where("").rstrip("/")
                raise ConfigError(f"dataset.categories: {name!r} has no images in {where}{near(name, sorted(found))}")
        return wanted

    def names(self) -> Mapping[str, str]:
        """Return those of the table of classes."""
        return self._classes.names if self._classes else {}

    def image(self, place: Place) -> ImageFile:
        """See `DataSet`."""
        return self._folder.image(self._stem(place), place.key, place.files)

    def annotation(self, place: Place, width: int, height: int) -> ImageAnnotation:
        """See `DataSet`.

        Raises:
            DataError: `no-box`, `bad-box`, `unknown-category` (a folder that the table lacks).
        """
        key, folder = place.key, path_of(_class_of(place.key))
        category, subcategory = self._classes.of(folder, key) if self._classes else (folder, None)
        boxes = [(0.0, 0.0, float(width), float(height))]
        if self._boxes is not None:
            try:
                boxes = self._boxes.of(self._stem(place), key)
            except DataError:
                if self._config.bad_boxes == "quarantine":
                    raise
        things = tuple(ObjectAnnotation(category, box, subcategory) for box in boxes)
        return ImageAnnotation(key, width, height, things)

    def label(self, place: Place) -> str:
        """See `DataSet`: of the class and the tables' boxes of the image."""
        folder = path_of(_class_of(place.key))
        made_from: dict[str, Any] = {"class": self._classes.classes.get(folder) if self._classes else (folder, None)}
        if self._boxes is not None:
            # As text: a table may say NaN, which JSON has no word for.
            boxes = [[repr(edge) for edge in box] for box in self._boxes.boxes.get(self._stem(place), ())]
            made_from |= {"boxes": boxes, "first_pixel": self._config.first_pixel, "bad_boxes": self._config.bad_boxes}
        return label_of("folders", **made_from)

    def _stem(self, place: Place) -> str:
        """Return the image's path below the root, without its extension."""
        return self._prefix(place.split) + path_of(place.key)

    def _of(self, split: str) -> dict[str, _Files]:
        """Return a split's keys in their order, with their files."""
        check_split(split, self.splits)
        files = self._keys[split]
        return {key: files[key] for key in mixed(files)}

    def _prefix(self, split: str) -> str:
        return "" if self._config.flat or self._config.split_files else f"{split}/"

    @cached_property
    def _keys(self) -> dict[str, dict[str, _Files]]:
        """By split, every key with its files; none for one that is listed but not there."""
        if self._config.split_files:
            found = self._listed(self._config.split_files)
        else:
            found = {split: self._found(self._prefix(split), split) for split in self.splits}
        return {split: self._at_most(keys) for split, keys in found.items()}

    def _at_most(self, keys: dict[str, _Files]) -> dict[str, _Files]:
        """Return the keys that `max_per_class` leaves."""
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

    def _found(self, prefix: str, split: str) -> dict[str, _Files]:
        """Return the keys of a folder of class folders."""
        named = self._images(prefix)
        if not named.keys:
            where = self._folder.where(prefix).rstrip("/")
            hint = "" if self._config.flat else "; with class folders right below the root, set flat"
            raise refused(self._folder, "folders", f"split {split!r} has no class folders with images: {where}{hint}")
        return {key: named.of(key) for key in named.keys}

    def _listed(self, lists: Mapping[str, str]) -> dict[str, dict[str, _Files]]:
        """Return the keys of lists; a listed image that is not there stays a key, and is quarantined as missing."""
        named = self._images("")
        found: dict[str, dict[str, _Files]] = {}
        for split, path in lists.items():
            where = self._folder.where(path)
            lines = text_lines(self._folder.need(path, f"dataset.split_files: list of split {split!r}"), where)
            if not lines:
                raise ConfigError(f"split {split!r} is empty: {where}")
            found[split] = named.listed(lines, where)
        return found

    def _images(self, prefix: str) -> NamedImages:
        """List all images in class folders, by their paths below `prefix`.

        Raises:
            ConfigError: A class folder has no image; it is named.
        """
        inside = {name: file for name, file in self._listing(prefix).files.items() if self._is_inside(name, prefix)}
        images = {name: file for name, file in inside.items() if is_image(name)}
        known = {_class_of(name.removeprefix(prefix)) for name in images}
        folders = {_class_of(name.removeprefix(prefix)) for name in inside} | self._local_folders(prefix)
        for name in sorted(folders - known) if known else ():
            raise ConfigError(
                f"class folder {self._folder.where(prefix + name)} has no images; dataset.skip leaves it out"
            )
        return NamedImages(images, prefix.rstrip("/"))

    def _is_inside(self, name: str, prefix: str) -> bool:
        inside = name.removeprefix(prefix)
        return "/" in inside and self._wanted(inside)

    def _is_taken(self, name: str) -> bool:
        """Tell whether a file is an image of a class, or of a class that is skipped, or a table."""
        prefixes = {self._prefix(split) for split in self.splits}
        config = self._config
        tables = {
            *config.boxes,
            *(config.split_files or {}).values(),
            *([config.classes.path] if config.classes else []),
        }
        inside = [name.removeprefix(prefix) for prefix in prefixes if name.startswith(prefix)]
        if name in tables or any(not self._wanted(path) for path in inside):
            return True
        return is_image(name) and any("/" in path for path in inside)

    def _local_folders(self, prefix: str) -> set[str]:
        """Return the class folders on a disk: a listing has files only, and a folder may have none."""
        if not isinstance(self._reader, LocalStore):
            return set()
        place = self._reader.root / prefix
        names = {path.name for path in place.iterdir() if path.is_dir()} if place.is_dir() else set()
        return {name for name in names if self._wanted(name) and not is_hidden(name)}

    def _wanted(self, name: str) -> bool:
        return composed(_class_of(name)) not in map(composed, self._config.skip)

    def _list(self, prefix: str) -> Listing:
        return self._folder.listing(prefix.rstrip("/"))

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
