"""Class folders: an image's class is the folder it is in; tables beside them may say more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.datasets.class_images import ClassImages, class_of
from pipelines.datasets.class_tables import BoxTable, ClassTable
from pipelines.datasets.contents import Contents
from pipelines.datasets.folder_files import Folder, Reader, names_of, only_one
from pipelines.datasets.keys import checked_categories, composed, near, path_of
from pipelines.datasets.protocol import ONE_OR_SEVERAL, DatasetConfig, ImageFile, Item, Place, label_of
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError, DataError


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
        self._folder = Folder(reader)
        self._config = config
        self.splits = tuple(config.split_files or config.splits or (("all",) if config.flat else ("train", "val")))
        self._images = ClassImages(
            reader,
            self.splits,
            flat=config.flat,
            lists=config.split_files,
            skip=config.skip,
            max_per_class=config.max_per_class,
        )

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """See `DataSet`: in the order of the keys' hashes.

        Raises:
            ConfigError: Also for a class folder without images.
        """
        found = self._images.of(split)
        contents.leave_out(self._images.prefix(split), self._images.left_out(split, self._tables))
        digests = contents.digests_or_none(list(map(only_one, found.values())))
        rows = zip(found.items(), digests, strict=True)
        return [
            Item(key, image, self.label(Place(split, "", key)), files=names_of(files)) for (key, files), image in rows
        ]

    def places(self, split: str) -> Sequence[Place]:
        """See `DataSet`."""
        return [Place(split, "", key, names_of(files)) for key, files in self._images.of(split).items()]

    def count(self, split: str) -> int:
        """See `DataSet`."""
        return len(self._images.of(split))

    def categories(self, contents: Contents) -> tuple[str, ...]:
        """Return the config's, or those of its table, or the names of all class folders, sorted.

        Raises:
            ConfigError: There are none, one comes twice, or one has no images in any split.
        """
        config = self._config
        if self._classes is not None:
            return self._classes.categories
        found = self._images.classes
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
        key, folder = place.key, path_of(class_of(place.key))
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
        folder = path_of(class_of(place.key))
        made_from: dict[str, Any] = {"class": self._classes.classes.get(folder) if self._classes else (folder, None)}
        if self._boxes is not None:
            # As text: a table may say NaN, which JSON has no word for.
            boxes = [[repr(edge) for edge in box] for box in self._boxes.boxes.get(self._stem(place), ())]
            made_from |= {"boxes": boxes, "first_pixel": self._config.first_pixel, "bad_boxes": self._config.bad_boxes}
        return label_of("folders", **made_from)

    def _stem(self, place: Place) -> str:
        """Return the image's path below the root, without its extension."""
        return self._images.prefix(place.split) + path_of(place.key)

    @property
    def _tables(self) -> frozenset[str]:
        """The files that say more of the images."""
        config = self._config
        lists = (config.split_files or {}).values()
        return frozenset((*config.boxes, *lists, *([config.classes.path] if config.classes else [])))

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
