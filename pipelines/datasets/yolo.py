"""YOLO's layout: folders `images` and `labels` that mirror each other, and `data.yaml`."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Annotated, Literal

from pydantic import Field

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.datasets.boxes_given import GivenBoxes, mend_boxes
from pipelines.datasets.contents import Contents, SeenFile
from pipelines.datasets.folder_files import Folder, Listing, Reader, names_of, note_digest, only_one, remembered
from pipelines.datasets.keys import check_split, is_image, path_of
from pipelines.datasets.left_out import LeftOut
from pipelines.datasets.named_images import NamedImages
from pipelines.datasets.protocol import ONE_OR_SEVERAL, DatasetConfig, ImageFile, Item, Place, label_of
from pipelines.datasets.roots import refused
from pipelines.datasets.yolo_labels import YoloNames, labels_of, parse_labels
from pipelines.engine.store import open_store
from pipelines.engine.text import text_lines
from sppnet.errors import ConfigError

_LIST = ".txt"
_SHOWN = 100
_BESIDE = ("classes.txt", "notes.txt")
"""Text files that labelling tools write between the label files."""


class YoloDataset(DatasetConfig):
    """YOLO's layout, as ultralytics and the tools around it write it.

    A key is the image's path below the root without the extension (see `key_of`): `images/train/000012`. The label file
    of `.../images/NAME.jpg` is `.../labels/NAME.txt`, or beside the image where no folder is called `images`. An image
    without a label file shows nothing.

    Attributes:
        kind: `yolo`.
        root: Folder or object-store prefix; `path` in `data.yaml` is not looked at.
        splits: Names of splits, as in `data.yaml`.
        names: The file below the root with the classes' names: YAML with `names`, or one a line (`classes.txt`).
        images: By split, its folders or lists of images below the root; by default what `data.yaml` says, else
            `images/<split>`.
        bad_boxes: What becomes of a box without area or that leaves its image, see `GivenBoxes`.
    """

    kind: Literal["yolo"] = "yolo"
    splits: Annotated[tuple[str, ...], Field(min_length=1)] = ("train", "val")
    names: str = "data.yaml"
    images: Mapping[str, Annotated[tuple[str, ...], ONE_OR_SEVERAL]] = Field(default_factory=dict)
    bad_boxes: GivenBoxes = "quarantine"

    def open(self) -> Yolo:
        """See `DatasetConfig.open`."""
        return Yolo(open_store(self.root), self)


class Yolo:
    """A data set in YOLO's layout.

    Args:
        reader: Gives the files below the root.
        config: The data set's config.
    """

    def __init__(self, reader: Reader, config: YoloDataset) -> None:
        self._folder = Folder(reader)
        self._config = config
        self._text = remembered(self._folder.find)
        self._images = lru_cache(maxsize=None)(self._list)
        self.splits = config.splits

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """See `DataSet`: folders by name, lists in their order.

        Raises:
            ConfigError: Also for no image, or no label file at all.
        """
        images = self._images(split)
        notes = [self._listing.files.get(_note(key, names_of(files))) for key, files in images.items()]
        contents.leave_out(split, LeftOut.of((), named=self._odd(split, images, notes)))
        contents.leave_out("", self._listing.left_out(self._is_taken))
        digests = contents.digests_or_none(list(map(only_one, images.values())))
        rows = zip(images.items(), digests, contents.digests_or_none(notes), strict=True)
        return [Item(key, image, self._label(note), files=names_of(files)) for (key, files), image, note in rows]

    def places(self, split: str) -> Sequence[Place]:
        """See `DataSet`."""
        return [Place(split, "", key, names_of(files)) for key, files in self._images(split).items()]

    def count(self, split: str) -> int:
        """See `DataSet`."""
        return len(self._images(split))

    def categories(self, contents: Contents) -> tuple[str, ...]:
        """Return the classes, in the order of their numbers."""
        return self._names.classes

    def category_numbers(self, contents: Contents) -> Mapping[str, int]:
        """See `NumbersCategories`: they count from 0."""
        return {name: number for number, name in enumerate(self._names.classes)}

    def names(self) -> Mapping[str, str]:
        """Return none: classes are words."""
        return {}

    def image(self, place: Place) -> ImageFile:
        """See `DataSet`."""
        return self._folder.image(path_of(place.key), place.key, place.files)

    def annotation(self, place: Place, width: int, height: int) -> ImageAnnotation:
        """See `DataSet`.

        Raises:
            DataError: See `parse_labels`.
        """
        text = self._text(_note(place.key, place.files))
        names = self._names
        rows = [] if text is None else parse_labels(text, len(names.classes), place.key, keypoints=names.keypoints)
        things = (
            ObjectAnnotation(names.classes[kind], (x0 * width, y0 * height, x1 * width, y1 * height))
            for kind, (x0, y0, x1, y1) in rows
        )
        return ImageAnnotation(
            place.key, width, height, tuple(mend_boxes(things, width, height, self._config.bad_boxes))
        )

    def label(self, place: Place) -> str:
        """See `DataSet`: of the label file and the classes' names."""
        return self._label(note_digest(self._text, _note(place.key, place.files)))

    def _label(self, note: str | None) -> str:
        names = self._names
        options = {"names": list(names.classes), "keypoints": names.keypoints, "bad_boxes": self._config.bad_boxes}
        return label_of("yolo", annotation=note, **options)

    def _odd(self, split: str, images: Mapping[str, Sequence[SeenFile]], notes: Sequence[SeenFile | None]) -> list[str]:
        """Say which images have no label file, and which label files no image; refuse where none has."""
        expected = [_note(key, names_of(files)) for key, files in images.items()]
        if not any(notes):
            where = self._folder.where(expected[0])
            raise ConfigError(f"split {split!r}: no image has a label file, the first would be {where}")
        bare = [path_of(key) for key, note in zip(images, notes, strict=True) if note is None]
        folders, known = {posixpath.dirname(path) for path in expected}, set(expected)
        alone = [
            name
            for name in self._listing.files
            if name.endswith(_LIST)
            and posixpath.dirname(name) in folders
            and name not in known
            and posixpath.basename(name) not in _BESIDE
        ]
        told = (("images without a label file show nothing", bare), ("label files without an image", alone))
        return [f"{split}: {len(which)} {what}, first {which[0]}" for what, which in told if which]

    def _is_taken(self, name: str) -> bool:
        return is_image(name) or name.endswith(_LIST) or name == self._config.names

    def _list(self, split: str) -> dict[str, tuple[SeenFile, ...]]:
        """Return a split's keys, folders by name and lists in their order, with the images' files."""
        check_split(split, self.splits)
        found: dict[str, tuple[SeenFile, ...]] = {}
        for place in self._places_of(split):
            found |= self._in_list(place, split) if place.endswith(_LIST) else self._in_folder(place)
        if not found:
            where = ", ".join(self._folder.where(place[:_SHOWN]) for place in self._places_of(split)[:_SHOWN])
            why = f"split {split!r} has no images in {where}; name their folder: dataset.images.{split}"
            raise refused(self._folder, "yolo", why)
        return found

    def _places_of(self, split: str) -> tuple[str, ...]:
        given = self._config.images.get(split) or self._names.places.get(split) or (f"images/{split}",)
        return tuple(_below_root(place) for place in given)

    def _in_list(self, path: str, split: str) -> dict[str, tuple[SeenFile, ...]]:
        where = self._folder.where(path)
        lines = text_lines(self._folder.need(path, f"list of split {split!r}"), where)
        return NamedImages(self._listing.files).listed(map(_below_root, lines), where)

    def _in_folder(self, folder: str) -> dict[str, tuple[SeenFile, ...]]:
        prefix = f"{folder}/" if folder else ""
        inside = {name: file for name, file in sorted(self._listing.files.items()) if name.startswith(prefix)}
        named = NamedImages(inside)
        return {key: named.of(key) for key in named.keys}

    @cached_property
    def _listing(self) -> Listing:
        return self._folder.listing()

    @cached_property
    def _names(self) -> YoloNames:
        where = self._folder.where(self._config.names)
        return YoloNames.parse(self._folder.need(self._config.names, "file with the classes' names"), where)


def _note(key: str, files: Sequence[str] | None) -> str:
    """Return the path of an image's label file."""
    return labels_of(files[0] if files else f"{path_of(key)}.jpg")


def _below_root(path: str) -> str:
    """Return a path of `data.yaml` or a list as one below the root: some tools lead up from it, `../train/images`."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "/".join(parts)
