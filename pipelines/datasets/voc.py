"""PASCAL VOC's layout: `JPEGImages`, `Annotations`, `ImageSets/Main`."""

from __future__ import annotations

import logging
import posixpath
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import ClassVar, Literal, cast

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.datasets.contents import JSON, Contents, SeenFile
from pipelines.datasets.folder_files import Folder, Listing, Reader, names_of, note_digest, only_one, remembered
from pipelines.datasets.keys import checked_categories, is_image, near, parse_categories, path_of
from pipelines.datasets.named_images import VOC_IMAGES, NamedImages
from pipelines.datasets.protocol import DatasetConfig, ImageFile, Item, Place, label_of
from pipelines.datasets.roots import refused
from pipelines.datasets.voc_xml import read_voc_xml
from pipelines.engine.fingerprint import content_digest
from pipelines.engine.store import open_store
from pipelines.engine.text import text_lines
from sppnet.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

_IMAGES, _CATEGORIES = VOC_IMAGES, "categories.txt"
_LISTS = "ImageSets/Main"
_LOOKED_AT = 64
"""So many annotation files tell whether their categories are VOC's."""
_SHOWN = 5
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
        first_pixel: The coordinate of an image's first pixel: 1 in VOC, 0 in ILSVRC's own files. [pixels]
    """

    usual_categories: ClassVar[int | None] = 20
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
        self._text = remembered(self._find_text)
        self._listed = lru_cache(maxsize=None)(self._read_list)
        self.splits = tuple(splits)

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """See `DataSet`: in the order of the split's list."""
        listed = self._listed(split)
        contents.leave_out(_IMAGES, self._images.left_out())
        images = contents.digests_or_none(list(map(only_one, listed.values())))
        notes = self._digests([_first(self._notes, key) for key in listed], contents)
        rows = zip(listed.items(), images, notes, strict=True)
        return [Item(key, image, self._label(note), files=names_of(files)) for (key, files), image, note in rows]

    def places(self, split: str) -> Sequence[Place]:
        """See `DataSet`; the images are listed."""
        return [Place(split, "", key, names_of(files)) for key, files in self._listed(split).items()]

    def count(self, split: str) -> int:
        """See `DataSet`; the images are listed."""
        return len(self._listed(split))

    def categories(self, contents: Contents) -> tuple[str, ...]:
        """Return those of the config, or of the folder's `categories.txt`, one a line, or VOC's twenty.

        Raises:
            ConfigError: The file is empty or names a category twice; or the first annotations name none of them.
        """
        own, text = self._folder.where(_CATEGORIES), self._folder.find(_CATEGORIES)
        if self._categories is not None:
            found, what = checked_categories(self._categories, "dataset.categories"), "of them"
        elif text is not None:
            found, what = parse_categories(text, own), f"of {own}"
        else:
            found, what = VOC_CATEGORIES, "of VOC's twenty"
        self._check_named(found, what, contents)
        return found

    def _check_named(self, categories: Sequence[str], what: str, contents: Contents) -> None:
        """Compare categories with those that the first annotations name: nothing is computed for misspelt ones."""
        named = dict.fromkeys(name for _, names in self._looked_at(contents).values() for name in names)
        unknown = [name for name in named if name not in categories]
        notes = self._folder.where("Annotations")
        if unknown and len(unknown) == len(named):
            raise ConfigError(
                f"dataset.categories: the annotations in {notes} name {', '.join(unknown[:_SHOWN])} and none {what}; "
                f"give the data set's own there, or one a line in {self._folder.where(_CATEGORIES)}"
            )
        for name in unknown:
            logger.warning(
                "dataset.categories: annotations in %s name %r, which is none %s%s; images that show it are set aside",
                notes, name, what, near(name, categories),
            )  # fmt: skip

    def names(self) -> Mapping[str, str]:
        """Return none: VOC's categories are words."""
        return {}

    def image(self, place: Place) -> ImageFile:
        """See `DataSet`."""
        return self._folder.image(f"{_IMAGES}/{path_of(place.key)}", place.key, place.files)

    def annotation(self, place: Place, width: int, height: int) -> ImageAnnotation:
        """See `DataSet`: of its file, which says the image's size.

        Raises:
            DataError: `missing-annotation`, `bad-annotation`.
        """
        text = self._text(place.key)
        if text is None:
            raise DataError("missing-annotation", f"{place.key}: no {_notes(place.key)[0]}")
        return read_voc_xml(text, place.key, first_pixel=self._first_pixel)

    def label(self, place: Place) -> str:
        """See `DataSet`."""
        return self._label(note_digest(self._text, place.key))

    def _label(self, note: str | None) -> str:
        return label_of("voc", annotation=note, first_pixel=self._first_pixel)

    def _find_text(self, key: str) -> bytes | None:
        texts = (self._folder.find(name) for name in _notes(key))
        return next((text for text in texts if text is not None), None)

    def _read_list(self, split: str) -> dict[str, tuple[SeenFile, ...]]:
        """Read a split's list: an image a line, as `meanings` has it; marks as in per-class lists."""
        path = f"{_LISTS}/{split}.txt"
        data = self._folder.find(path)
        if data is None:
            lists = [name for name in self._folder.files(_LISTS) if name.endswith(".txt")]
            known = sorted(posixpath.splitext(posixpath.basename(name))[0] for name in lists)
            why = f"no split {split!r}: {self._folder.where(path)} does not exist"
            raise refused(self._folder, "voc", why + near(split, known) if known else why)
        lines = text_lines(data, self._folder.where(path))
        if not any(map(is_image, self._images.files)):
            raise refused(self._folder, "voc", f"no images in {self._folder.where(_IMAGES)}")
        if not lines:
            raise ConfigError(f"split {split!r} is empty: {self._folder.where(path)}")
        return NamedImages(self._images.files, _IMAGES).listed(lines, self._folder.where(path))

    def _looked_at(self, contents: Contents) -> dict[str, tuple[str | None, list[str]]]:
        """Return the digests of the first annotation files, and the categories that they name, by path."""
        first = [self._notes[name] for name in sorted(self._notes)[:_LOOKED_AT] if name.lower().endswith(".xml")]
        found = cast(list[tuple[str, list[str]] | None], contents.of(first, _summarise, "voc-note"))
        return {file.place: summary or (None, []) for file, summary in zip(first, found, strict=True)}

    def _digests(self, notes: Sequence[SeenFile | None], contents: Contents) -> list[str | None]:
        """Return the digests of annotation files, None for one that isn't there or can't be read; each is read once."""
        looked_at = self._looked_at(contents)
        others = [note if note is not None and note.place not in looked_at else None for note in notes]
        rest = contents.digests_or_none(others)
        pairs = zip(notes, rest, strict=True)
        return [looked_at[note.place][0] if note and note.place in looked_at else digest for note, digest in pairs]

    @cached_property
    def _images(self) -> Listing:
        return self._folder.listing(_IMAGES)

    @cached_property
    def _notes(self) -> Mapping[str, SeenFile]:
        return self._folder.files("Annotations")


def _notes(key: str) -> tuple[str, ...]:
    """Return the paths at which the annotation of an image may be, the usual one first."""
    stem = path_of(key)
    forms = (stem,) if stem.isascii() else (stem, unicodedata.normalize("NFD", stem))
    return tuple(f"Annotations/{form}.{extension}" for form in forms for extension in ("xml", "XML"))


def _first(files: Mapping[str, SeenFile], key: str) -> SeenFile | None:
    return next((files[name] for name in _notes(key) if name in files), None)


def _summarise(note: bytes) -> JSON:
    """Summarise an annotation file: its digest, and the categories that it names."""
    try:
        names = sorted({thing.category for thing in read_voc_xml(note, "").objects})
    except DataError:  # which ingest will tell
        names = []
    return [content_digest(note), [*names]]
