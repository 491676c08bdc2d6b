"""Folders of images with CSV tables of boxes: Open Images, and tables with columns of other names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.datasets.boxes_given import GivenBoxes, choose_categories, mend_boxes
from pipelines.datasets.contents import Contents, SeenFile
from pipelines.datasets.csv_tables import CsvBoxes, CsvColumns, CsvReading, Unit, parse_classes
from pipelines.datasets.folder_files import Folder, Reader, names_of, only_one
from pipelines.datasets.keys import check_split, checked_categories, path_of
from pipelines.datasets.named_images import NamedImages
from pipelines.datasets.protocol import ONE_OR_SEVERAL, DatasetConfig, ImageFile, Item, Place, label_of
from pipelines.datasets.roots import refused
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError


class CsvSplit(BaseModel):
    """One split.

    Attributes:
        boxes: CSV tables below the root.
        images: The folder of images below the root.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    boxes: Annotated[tuple[str, ...], ONE_OR_SEVERAL, Field(min_length=1)]
    images: str


class CsvDataset(DatasetConfig):
    """Images in folders, and tables of boxes.

    The images of a split are those in its folder: of a large data set a part will do. A key is an image's path below
    that folder without the extension (see `key_of`). An image without a row shows nothing.

    Attributes:
        kind: `csv`.
        root: Folder or object-store prefix.
        splits: The splits by name.
        columns: Which columns of the tables say what; by default Open Images'.
        unit: What boxes are told in: `fraction` of the image's sides, as in Open Images, or `pixel`.
        classes: A table of classes below the root, `code,name` a line (`class-descriptions-boxable.csv`): categories
            are its names; by default what the tables call them.
        categories: Those that are taken, in order; by default the table's of classes, or all that come, sorted.
            Objects of others are left out.
        bad_boxes: What becomes of a box without area or that leaves its image, see `GivenBoxes`.
    """

    kind: Literal["csv"] = "csv"
    splits: Annotated[Mapping[str, CsvSplit], Field(min_length=1)]
    columns: CsvColumns = CsvColumns()
    unit: Unit = "fraction"
    classes: str | None = None
    categories: tuple[str, ...] | None = None
    bad_boxes: GivenBoxes = "quarantine"

    def open(self) -> CsvImages:
        """See `DatasetConfig.open`."""
        return CsvImages(open_store(self.root), self)


class CsvImages:
    """A data set of folders of images and tables of boxes.

    Args:
        reader: Gives the files below the root.
        config: The data set's config.
    """

    def __init__(self, reader: Reader, config: CsvDataset) -> None:
        self._folder = Folder(reader)
        self._config = config
        self._boxes = lru_cache(maxsize=4)(self._read)  # a worker reads a split's tables once
        self._listed = lru_cache(maxsize=None)(self._folder.listing)
        self._images = lru_cache(maxsize=None)(self._list)
        self.splits = tuple(config.splits)

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """See `DataSet`: in the order of the paths.

        Raises:
            ConfigError: Also for tables that know none of the images.
        """
        images, boxes = self._images(split), self._boxes(split)
        alone = [path_of(key) for key in boxes.images if key not in images]
        folder = self._config.splits[split].images
        if len(alone) == len(boxes.images):
            first = f"they name {alone[0]!r} and others" if alone else "they name none"
            raise ConfigError(
                f"split {split!r}: the tables of boxes know none of the images in {self._folder.where(folder)}; {first}"
            )
        named = [f"{split}: {len(alone)} images of the tables are not there, first {alone[0]}"] if alone else []
        if boxes.unnamed:
            named.append(f"{split}: {boxes.unnamed} rows of the tables name no image")
        contents.leave_out(folder, self._listed(folder).left_out(named=named))
        digests = contents.digests_or_none(list(map(only_one, images.values())))
        rows = zip(images.items(), digests, strict=True)
        return [
            Item(key, image, self.label(Place(split, "", key)), files=names_of(files)) for (key, files), image in rows
        ]

    def places(self, split: str) -> Sequence[Place]:
        """See `DataSet`."""
        return [Place(split, "", key, names_of(files)) for key, files in self._images(split).items()]

    def count(self, split: str) -> int:
        """See `DataSet`."""
        return len(self._images(split))

    def categories(self, contents: Contents) -> tuple[str, ...]:
        """Return the config's, or those of the table of classes, or all that come in the splits' tables, sorted.

        Raises:
            ConfigError: There are none, or the config has one that they don't have.
        """
        if self._names is not None:
            known = tuple(self._names.values())
        else:
            found = {category for split in self.splits for category in self._boxes(split).known}
            known = checked_categories(sorted(found), "the tables of boxes")
        return choose_categories(self._config.categories, known, self._folder.where(self._config.classes or ""))

    def names(self) -> Mapping[str, str]:
        """Return none: categories are words."""
        return {}

    def image(self, place: Place) -> ImageFile:
        """See `DataSet`."""
        check_split(place.split, self.splits)
        folder = self._config.splits[place.split].images
        return self._folder.image(f"{folder}/{path_of(place.key)}", place.key, place.files)

    def annotation(self, place: Place, width: int, height: int) -> ImageAnnotation:
        """See `DataSet`.

        Raises:
            DataError: See `CsvBoxes.objects`.
        """
        across, down = (width, height) if self._config.unit == "fraction" else (1, 1)
        things = self._boxes(place.split).objects(place.key, across, down)
        kept = mend_boxes(things, width, height, self._config.bad_boxes)
        return ImageAnnotation(place.key, width, height, tuple(kept))

    def label(self, place: Place) -> str:
        """See `DataSet`: of the tables' rows of the image."""
        said = self._boxes(place.split).digest(place.key)
        return label_of("csv", said=said, unit=self._config.unit, bad_boxes=self._config.bad_boxes)

    def _read(self, split: str) -> CsvBoxes:
        check_split(split, self.splits)
        config, own = self._config, self._config.splits[split]
        wanted = None if config.categories is None else frozenset(config.categories)
        reading = CsvReading(config.columns, config.unit, self._names, wanted, own.images)
        for path in own.boxes:
            reading.add(self._folder.need(path, f"table of boxes of split {split!r}"), path, self._folder.where(path))
        return reading.table()

    def _list(self, split: str) -> dict[str, tuple[SeenFile, ...]]:
        """Return a split's keys in the order of the paths, with the images' files."""
        check_split(split, self.splits)
        folder = self._config.splits[split].images
        named = NamedImages(dict(sorted(self._listed(folder).files.items())), folder)
        if not named.keys:
            raise refused(self._folder, "csv", f"split {split!r} has no images in {self._folder.where(folder)}")
        return {key: named.of(key) for key in named.keys}

    @cached_property
    def _names(self) -> Mapping[str, str] | None:
        path = self._config.classes
        if path is None:
            return None
        return parse_classes(self._folder.need(path, "table of classes"), self._folder.where(path))
