"""COCO's instances files: JSON of hundreds of megabytes, read entry by entry into a compact table.

Outlines are passed over before anything is parsed: they are most of the file, and boxes are what is asked for.
"""

from __future__ import annotations

import json
import math
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipelines.artifacts.annotations import Number, ObjectAnnotation
from pipelines.datasets.box_rows import BoxColumns, BoxRows
from pipelines.datasets.json_lists import JsonLists, without_outlines
from pipelines.datasets.keys import key_of
from pipelines.engine.fingerprint import content_digest
from pipelines.engine.text import decode_text
from sppnet.arrays import Integers
from sppnet.errors import ConfigError, DataError
from sppnet.outside import parsing

_SHOWN = 3
_SHORT = 60
_NO_BOX = (math.nan,) * 4


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An entry of `images`.

    Attributes:
        path: Its `file_name` as a path below the folder of images, with slashes.
        number: Its `id`; None where it has none that can be one.
        width: Pixels, if the entry says them.
        height: Likewise.
    """

    path: str
    number: Number | None
    width: int | None
    height: int | None

    @property
    def key(self) -> str:
        """The image's key."""
        return key_of(self.path)


@dataclass(frozen=True)
class CocoInstances:
    """What an instances file says.

    Attributes:
        images: In the file's order, each key once.
        categories: The categories' names with their numbers, in the file's order.
        said: What a person should know: annotations without images and the like, counted and named, a line each.
    """

    images: tuple[CocoImage, ...]
    categories: Mapping[str, Number]
    said: tuple[str, ...]
    _rows: BoxRows
    _faults: Mapping[str, tuple[str, str]]
    _places: Mapping[str, int]

    @classmethod
    def parse(cls, data: bytes, where: str) -> CocoInstances:
        """Read a file.

        Args:
            data: Its bytes.
            where: Its place, for messages.

        Raises:
            ConfigError: It is no such file: no JSON, a list of results, without images or categories.
        """
        text = decode_text(without_outlines(data), where)
        with parsing(lambda why: ConfigError(f"{where}: not an instances file ({why})")):
            return _Reading(where).table(text)

    def image(self, key: str) -> CocoImage:
        """Return an image's entry.

        Raises:
            DataError: `missing-annotation`; or what is wrong with its entries: `bad-annotation`, `unknown-category`,
                `several-images`.
        """
        if key not in self._places:
            raise DataError("missing-annotation", f"{key}: the instances file has no such image")
        if key in self._faults:
            raise DataError(self._faults[key][0], f"{key}: {self._faults[key][1]}")
        return self.images[self._places[key]]

    def objects(self, key: str) -> list[ObjectAnnotation]:
        """Return an image's objects in the file's order, of all categories; a crowd is difficult too."""
        names, rows = list(self.categories), self._rows
        found = []
        for row in rows.of(self._places[key]):
            x, y, width, height, area = rows.numbers[row].tolist()
            crowd = bool(rows.crowd[row])
            found.append(
                ObjectAnnotation(
                    names[rows.category[row]],
                    (x, y, x + width, y + height),
                    difficult=crowd,
                    crowd=crowd,
                    area=area if math.isfinite(area) and area >= 0 else None,
                )
            )
        return found

    def digest(self, key: str) -> str:
        """Return a digest of all that the file says of an image; of one that it doesn't have, the same for all."""
        if key not in self._places:
            return content_digest(b"")
        image = self.images[self._places[key]]
        said = (image.number, image.width, image.height, self._faults.get(key))
        return content_digest(repr((said, self.objects(key))).encode())


@dataclass
class _Annotations:
    """The annotations as they come: ids of images and categories as places among all that were named."""

    rows: BoxColumns = field(default_factory=lambda: BoxColumns(5))
    titles: list[Any] = field(default_factory=list)
    images: dict[str, int] = field(default_factory=dict)
    categories: dict[str, int] = field(default_factory=dict)
    seen: dict[Any, int] = field(default_factory=dict)
    again: list[str] = field(default_factory=list)

    def add(self, entry: Any) -> None:
        """Add an entry; the same once more, with the same id, is left out."""
        row: Mapping[str, Any] = entry if isinstance(entry, dict) else {}
        image = self.images.setdefault(str(_number(row.get("image_id"))), len(self.images))
        category = self.categories.setdefault(str(_number(row.get("category_id"))), len(self.categories))
        numbers = [*_box(row.get("bbox")), _real(row.get("area"))]
        crowd = row.get("iscrowd") in (1, "1")
        title = row["id"] if type(row.get("id")) in (int, str) else None
        before = len(self.rows) if title is None else self.seen.setdefault(title, len(self.rows))
        if before != len(self.rows):
            self.again.append(str(title))
            if repr(self.rows.row(before)) == repr((image, category, crowd, numbers)):  # which a NaN equals too
                return
        self.rows.add(image, category, crowd, numbers)
        self.titles.append(f"entry {len(self.rows)}" if title is None else title)


@dataclass
class _Reading:
    """A file that is being read."""

    where: str
    images: list[CocoImage] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    owners: dict[str, int] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    categories: dict[str, Number] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    annotations: _Annotations = field(default_factory=_Annotations)
    faults: dict[str, tuple[str, str]] = field(default_factory=dict)
    odd: dict[str, list[str]] = field(default_factory=dict)

    def table(self, text: str) -> CocoInstances:
        """Make the table of a file's text."""
        takers = {"images": self._image, "annotations": self.annotations.add, "categories": self._category}
        lists = JsonLists(text)
        found = []
        for name in lists:
            found.append(name)
            for entry in lists.entries() if name in takers else ():
                takers[name](entry)
        for what, got in (("images", self.images), ("categories", self.categories)):
            if not got:
                raise ValueError(f"it has no {what}; its keys are: {', '.join(found) or 'none'}")
        rows = self._rows()
        if self.annotations.again:
            self.odd["annotations with an id that was there before"] = self.annotations.again
        said = tuple(f"{len(which)} {what}: {_shown(which)}" for what, which in self.odd.items())
        return CocoInstances(tuple(self.images), self.categories, said, rows, self.faults, self.places)

    def _note(self, what: str, which: Any) -> None:
        self.odd.setdefault(what, []).append(str(which))

    def _image(self, entry: Any) -> None:
        name = entry.get("file_name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not _is_name(name):
            self._note("images without a usable file_name", json.dumps(entry)[:_SHORT])
            return
        path = _inside(name)
        key, number = key_of(path), _number(entry.get("id"))
        if key in self.places:
            self._listed_again(key, name, number)
            return
        self.places[key], self.files[key] = len(self.images), name
        self.images.append(CocoImage(path, number, _side(entry.get("width")), _side(entry.get("height"))))
        if leads_out(path):
            self.faults[key] = "bad-annotation", f"file_name {name!r} leads out of the folder"
        elif number is None:
            self.faults[key] = "bad-annotation", "its entry has no id"
        elif self.owners.setdefault(str(number), self.places[key]) != self.places[key]:
            self._shared(str(number), self.images[self.owners[str(number)]].key, key)

    def _listed_again(self, key: str, name: str, number: Number | None) -> None:
        first = self.images[self.places[key]]
        if _inside(self.files[key]) != _inside(name):
            self.faults[key] = "several-images", f"{self.files[key]} and {name} have the same key"
        elif str(first.number) == str(number):
            self._note("images listed twice", name)
        else:
            self.faults[key] = "bad-annotation", f"it is listed twice, with the ids {first.number} and {number}"

    def _shared(self, number: str, first: str, second: str) -> None:
        self._note("ids that several images have", number)
        for key, other in ((first, second), (second, first)):
            self.faults[key] = "bad-annotation", f"its id {number} is that of {other} too"

    def _category(self, entry: Any) -> None:
        name = entry.get("name") if isinstance(entry, dict) else None
        number = _number(entry.get("id")) if isinstance(entry, dict) else None
        if not isinstance(name, str) or not _is_name(name) or number is None:
            raise ValueError(f"a category without a name or an id: {json.dumps(entry)[:_SHORT]}")
        if name in self.categories:
            self._note("categories named twice", name)
        self.categories.setdefault(name, number)
        place = list(self.categories).index(name)
        if self.kinds.setdefault(str(number), place) != place:
            raise ValueError(f"two categories have the id {number}")

    def _rows(self) -> BoxRows:
        """Sort the annotations by image; what can't be used sets its image aside, what has no image is told."""
        given = self.annotations
        owners = _looked_up(given.images, self.owners)[np.array(given.rows.image, int)]
        category = _looked_up(given.categories, self.kinds)[np.array(given.rows.category, int)]
        numbers = given.rows.values
        if len(numbers) and np.isnan(numbers[:, 0]).all():
            raise ValueError("no annotation has a bbox of four numbers")
        for row in np.flatnonzero(owners < 0).tolist():
            self._note("annotations without an image", given.titles[row])
        for row in np.flatnonzero((owners >= 0) & (np.isnan(numbers[:, 0]) | (category < 0))).tolist():
            title, key = given.titles[row], self.images[owners[row]].key
            fault = ("unknown-category", f"annotation {title}: no category has its category_id")
            if np.isnan(numbers[row, 0]):
                fault = ("bad-annotation", f"annotation {title} has no bbox of four numbers")
            self.faults.setdefault(key, fault)
        return given.rows.sorted(owners, category, len(self.images))


def _looked_up(names: Mapping[str, int], places: Mapping[str, int]) -> Integers:
    """Return the places of names in their order; -1 for those that have none."""
    return np.array([places.get(name, -1) for name in names], np.int64)


def leads_out(path: str) -> bool:
    """Tell whether an image's path leads out of the folder of images."""
    return path == ".." or path.startswith("../")


def _is_name(text: str) -> bool:
    """Tell whether a file or a category can be called so: there is something, and all of it is characters."""
    return bool(text.strip()) and text.isprintable()


def _shown(found: Sequence[str]) -> str:
    return ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")


def _inside(name: str) -> str:
    """Return a `file_name` as a path below the folder of images: Windows' separators are slashes."""
    return posixpath.normpath(name.strip().replace("\\", "/").lstrip("/"))


def _number(value: Any) -> Number | None:
    """Return an id; a whole number that is written with a point is one, anything but numbers and text is none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) in (int, str) and value != "" else None


def _side(value: Any) -> int | None:
    side = _real(value)
    return int(side) if math.isfinite(side) and side >= 1 else None


def _box(value: Any) -> tuple[float, ...]:
    """Return COCO's `x, y, width, height` as numbers; NaN for anything else."""
    box = tuple(map(_real, value)) if isinstance(value, list) else ()
    return box if len(box) == 4 and not any(map(math.isnan, box)) else _NO_BOX


def _real(value: Any) -> float:
    """Return a JSON number; NaN for anything else, and one that is too large."""
    try:
        return float(value) if type(value) in (int, float) else math.nan
    except OverflowError:
        return math.nan
