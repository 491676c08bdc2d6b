"""PASCAL VOC's layout: `JPEGImages`, `Annotations`, `ImageSets/Main`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.datasets.contents import Contents, SeenFile
from pipelines.datasets.folder_files import Folder, Reader, image_among, note_digest, remembered
from pipelines.datasets.keys import check_keys, parse_categories, parse_list
from pipelines.datasets.protocol import DatasetConfig, ImageFile, Item, Place, label_of
from pipelines.datasets.voc_xml import read_voc_xml
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError, DataError

VOC_CATEGORIES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""The twenty of VOC2007 to VOC2012, in their official order."""


class VocDataset(DatasetConfig):
    """A folder in PASCAL VOC's layout.

    Attributes:
        kind: `voc`.
        root: Folder or object-store prefix that holds `Annotations`, `ImageSets/Main` and `JPEGImages`.
        splits: Names of lists in `ImageSets/Main`.
        categories: Categories that annotations may name; by default those of the folder's `categories.txt`,
            or else VOC's twenty.
        first_pixel: The coordinate of an image's first pixel: 1 in VOC, 0 in ILSVRC's own files.
    """

    kind: Literal["voc"] = "voc"
    splits: tuple[str, ...] = ("train", "val")
    categories: tuple[str, ...] | None = None
    first_pixel: Literal[0, 1] = 1

    def open(self) -> VocFolder:
        """See `DatasetConfig.open`."""
        return VocFolder(
            open_store(self.root), first_pixel=self.first_pixel, splits=self.splits, categories=self.categories
        )


class VocFolder:
    """A folder in VOC's layout.

    Args:
        reader: Gives the folder's objects by their paths below it.
        first_pixel: See `parse_voc_xml`.
        splits: Those to ingest.
        categories: See `VocDataset`.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        first_pixel: int = 1,
        splits: Sequence[str] = (),
        categories: Sequence[str] | None = None,
    ) -> None:
        self._folder = Folder(reader)
        self._first_pixel = first_pixel
        self._categories = categories
        self._text = remembered(self._folder.find)
        self.splits = tuple(splits)

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """See `DataSet`: in the order of the split's list."""
        keys = self._keys(split)
        images = contents.digests_or_none([image_among(self._images, _image_stem(key)) for key in keys])
        notes = contents.digests_or_none([self._notes.get(_note(key)) for key in keys])
        rows = zip(keys, images, notes, strict=True)
        return [Item(key, image, self._label(note)) for key, image, note in rows]

    def places(self, split: str) -> Sequence[Place]:
        """See `DataSet`."""
        return [Place(split, "", key) for key in self._keys(split)]

    def count(self, split: str) -> int:
        """See `DataSet`."""
        return len(self._keys(split))

    def categories(self, contents: Contents) -> tuple[str, ...]:
        """Return those of the config, or of the folder's `categories.txt`, one a line, or VOC's twenty.

        Raises:
            ConfigError: The file is empty or names a category twice.
        """
        if self._categories is not None:
            return tuple(self._categories)
        text = self._folder.find("categories.txt")
        return VOC_CATEGORIES if text is None else parse_categories(text, self._folder.where("categories.txt"))

    def names(self) -> Mapping[str, str]:
        """Return none: VOC's categories are words."""
        return {}

    def image(self, place: Place) -> ImageFile:
        """See `DataSet`."""
        return self._folder.image(_image_stem(place.key), place.key)

    def annotation(self, place: Place, width: int, height: int) -> ImageAnnotation:
        """See `DataSet`: of its file, which says the image's size.

        Raises:
            DataError: `missing-annotation`, `bad-annotation`.
        """
        text = self._text(_note(place.key))
        if text is None:
            raise DataError("missing-annotation", f"{place.key}: no {_note(place.key)}")
        return read_voc_xml(text, place.key, first_pixel=self._first_pixel)

    def label(self, place: Place) -> str:
        """See `DataSet`."""
        return self._label(note_digest(self._text, _note(place.key)))

    def _label(self, note: str | None) -> str:
        return label_of("voc", annotation=note, first_pixel=self._first_pixel)

    def _keys(self, split: str) -> list[str]:
        """Read `ImageSets/Main/<split>.txt`; a second column, as in per-class lists, is ignored."""
        path = f"ImageSets/Main/{split}.txt"
        keys = [
            columns[0] for columns in parse_list(self._folder.need(path, f"split {split!r}"), self._folder.where(path))
        ]
        if not keys:
            raise ConfigError(f"split {split!r} is empty: {self._folder.where(path)}")
        check_keys(keys, self._folder.where(path))
        return keys

    @cached_property
    def _images(self) -> Mapping[str, SeenFile]:
        return self._folder.images("JPEGImages")

    @cached_property
    def _notes(self) -> Mapping[str, SeenFile]:
        return self._folder.files("Annotations")


def _image_stem(key: str) -> str:
    return f"JPEGImages/{key}"


def _note(key: str) -> str:
    return f"Annotations/{key}.xml"
