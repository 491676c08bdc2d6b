"""YOLO's layout: folders `images` and `labels` that mirror each other, and `data.yaml`."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.datasets.boxes_given import GivenBoxes, mend_boxes
from pipelines.datasets.contents import Contents, SeenFile
from pipelines.datasets.folder_files import Folder, Reader, names_of, note_digest, only_one, remembered
from pipelines.datasets.keys import check_split, is_image, key_of, path_of
from pipelines.datasets.named_images import NamedImages
from pipelines.datasets.protocol import DatasetConfig, ImageFile, Item, Place, as_tuple, label_of
from pipelines.datasets.yolo_labels import YoloNames, labels_of, parse_labels
from pipelines.engine.store import open_store
from pipelines.engine.text import text_lines
from sppnet.errors import ConfigError

logger = logging.getLogger(__name__)

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
    images: Mapping[str, Annotated[tuple[str, ...], BeforeValidator(as_tuple)]] = Field(default_factory=dict)
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
        self.splits = config.splits

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """See `DataSet`: folders by name, lists in their order.

        Raises:
            ConfigError: Also for no image, or no label file at all.
        """
        listed = self._listed(split)
        stems = [path_of(key) for key in listed]
        notes = [self._files.get(labels_of(f"{stem}.jpg")) for stem in stems]
        self._tell(split, stems, notes)
        images = contents.digests_or_none(list(map(only_one, listed.values())))
        rows = zip(listed.items(), images, contents.digests_or_none(notes), strict=True)
        return [Item(key, image, self._label(note), files=names_of(files)) for (key, files), image, note in rows]

    def places(self, split: str) -> Sequence[Place]:
        """See `DataSet`."""
        return [Place(split, "", key, names_of(files)) for key, files in self._listed(split).items()]

    def count(self, split: str) -> int:
        """See `DataSet`."""
        return len(self._listed(split))

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
        text = self._text(self._note(place))
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
        return self._label(note_digest(self._text, self._note(place)))

    def _label(self, note: str | None) -> str:
        names = self._names
        options = {"names": list(names.classes), "keypoints": names.keypoints, "bad_boxes": self._config.bad_boxes}
        return label_of("yolo", annotation=note, **options)

    def _note(self, place: Place) -> str:
        return labels_of(f"{path_of(place.key)}.jpg")

    def _tell(self, split: str, stems: Sequence[str], notes: Sequence[SeenFile | None]) -> None:
        """Say which images have no label file, and which label files no image; refuse where none has."""
        if not any(notes):
            where = self._folder.where(labels_of(f"{stems[0]}.jpg"))
            raise ConfigError(f"split {split!r}: no image has a label file, the first would be {where}")
        bare = [stem for stem, note in zip(stems, notes, strict=True) if note is None]
        expected = {labels_of(f"{stem}.jpg") for stem in stems}
        folders = {f"{posixpath.dirname(path)}/" for path in expected}
        alone = [
            name
            for name in self._files
            if name.endswith(_LIST)
            and f"{posixpath.dirname(name)}/" in folders
            and name not in expected
            and posixpath.basename(name) not in _BESIDE
        ]
        for what, which in (
            ("images without a label file show nothing", bare),
            ("label files without an image", alone),
        ):
            if which:
                logger.warning("split %r: %d %s, the first: %s", split, len(which), what, which[0])

    def _listed(self, split: str) -> dict[str, tuple[SeenFile, ...]]:
        check_split(split, self.splits)
        found: dict[str, tuple[SeenFile, ...]] = {}
        for place in self._places_of(split):
            found |= self._of_place(place, split)
        if not found:
            where = ", ".join(self._folder.where(place[:_SHOWN]) for place in self._places_of(split)[:_SHOWN])
            raise ConfigError(f"split {split!r} has no images in {where}; name their folder: dataset.images.{split}")
        return found

    def _places_of(self, split: str) -> tuple[str, ...]:
        given = self._config.images.get(split) or self._names.places.get(split) or (f"images/{split}",)
        return tuple(_below_root(place) for place in given)

    def _of_place(self, place: str, split: str) -> dict[str, tuple[SeenFile, ...]]:
        """Return by key the images of a folder, or those that a list names."""
        if place.endswith(_LIST):
            where = self._folder.where(place)
            lines = text_lines(self._folder.need(place, f"list of split {split!r}"), where)
            return self._named.listed(map(_below_root, lines), where)
        prefix = f"{place}/" if place else ""
        inside = sorted(name for name in self._files if name.startswith(prefix) and is_image(name))
        return {key: self._named.of(key) for key in map(key_of, inside)}

    @cached_property
    def _named(self) -> NamedImages:
        return NamedImages(self._files)

    @cached_property
    def _files(self) -> Mapping[str, SeenFile]:
        return self._folder.files()

    @cached_property
    def _names(self) -> YoloNames:
        where = self._folder.where(self._config.names)
        return YoloNames.parse(self._folder.need(self._config.names, "file with the classes' names"), where)


def _below_root(path: str) -> str:
    """Return a path of `data.yaml` or a list as one below the root: some tools lead up from it, `../train/images`."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "/".join(parts)
