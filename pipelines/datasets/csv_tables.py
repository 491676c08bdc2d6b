"""Boxes of many images in CSV tables: Open Images' columns, or others that are named."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from pipelines.artifacts.annotations import ObjectAnnotation
from pipelines.datasets.box_rows import BoxColumns, BoxRows
from pipelines.datasets.keys import checked_categories, key_of
from pipelines.engine.fingerprint import content_digest
from pipelines.engine.text import decode_text
from sppnet.errors import ConfigError, DataError

Unit: TypeAlias = Literal["fraction", "pixel"]
"""What boxes are told in: fractions of the image's sides, or pixels."""
_SHORT = 150
_CLASSES_HEADER = ["LabelName", "DisplayName"]
_GROUP = "IsGroupOf"
_SLACK = 1e-3
"""By so much a fraction may leave 0..1: programs round."""


class CsvColumns(BaseModel):
    """Which columns of a table say what. The defaults are those of Open Images.

    Attributes:
        image: The image: its file's name, with an extension and folders or without.
        category: The category, or its code.
        xmin: Left edge.
        ymin: Upper edge.
        xmax: Right edge: where the box ends, not its last pixel.
        ymax: Lower edge, likewise.
        crowd: 1 for a region of many objects; by default `IsGroupOf` where a table has it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = "ImageID"
    category: str = "LabelName"
    xmin: str = "XMin"
    ymin: str = "YMin"
    xmax: str = "XMax"
    ymax: str = "YMax"
    crowd: str | None = None


@dataclass(frozen=True)
class CsvBoxes:
    """The boxes of a split.

    Attributes:
        images: The keys of the images that have rows, with their numbers.
        categories: Those that are kept, in the order in which they come.
        known: All that come.
        unnamed: How many rows name no image.
    """

    images: Mapping[str, int]
    categories: tuple[str, ...]
    known: frozenset[str]
    unnamed: int
    _rows: BoxRows
    _faults: Mapping[int, tuple[str, str]]

    def objects(self, key: str, width: int, height: int) -> list[ObjectAnnotation]:
        """Return an image's objects, boxes in pixels; none for an image without rows.

        Args:
            key: The image's key.
            width: What a fraction of 1 is across: the image's width, or 1 for boxes in pixels.
            height: Likewise.

        Raises:
            DataError: `bad-annotation` or `unknown-category`: a row that can't be used; the message has its line.
        """
        if key not in self.images:
            return []
        number = self.images[key]
        if number in self._faults:
            raise DataError(self._faults[number][0], f"{key}: {self._faults[number][1]}")
        found = []
        for row in self._rows.of(number):
            x0, y0, x1, y1 = self._rows.numbers[row].tolist()
            crowd = bool(self._rows.crowd[row])
            box = (x0 * width, y0 * height, x1 * width, y1 * height)
            name = self.categories[self._rows.category[row]]
            found.append(ObjectAnnotation(name, box, difficult=crowd, crowd=crowd))
        return found

    def digest(self, key: str) -> str:
        """Return a digest of all that the tables say of an image."""
        try:
            return content_digest(repr(self.objects(key, 1, 1)).encode())
        except DataError as error:
            return content_digest(str(error).encode())


@dataclass
class CsvReading:
    """Tables that are being read.

    Attributes:
        columns: Which columns are read.
        unit: Of the boxes.
        names: The categories by code, if a table of classes says them.
        wanted: The categories that are kept; None for all.
        folder: The images' folder, which names may begin with.
    """

    columns: CsvColumns
    unit: Unit
    names: Mapping[str, str] | None
    wanted: frozenset[str] | None
    folder: str
    images: dict[str, int] = field(default_factory=dict)
    categories: dict[str, int] = field(default_factory=dict)
    rows: BoxColumns = field(default_factory=lambda: BoxColumns(4))
    faults: dict[int, tuple[str, str]] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    unnamed: int = 0

    def add(self, data: bytes, path: str, where: str) -> None:
        """Read a table.

        Args:
            data: The file.
            path: Its path below the root, for what is said of single images.
            where: Its whole place, for what is said of the table.

        Raises:
            ConfigError: A column is missing, or it is no CSV.
        """
        reader = _reader(data, where)
        try:
            header = [cell.strip() for cell in next(reader, [])]
            places = self._places(header, where)
            for row in reader:
                if row:
                    self._row(row, places, f"{path}: line {reader.line_num}")
        except csv.Error as error:
            raise ConfigError(f"{where}: line {reader.line_num}: not a CSV table ({error})") from None

    def table(self) -> CsvBoxes:
        """Return all that was read."""
        rows = self.rows.sorted(self.rows.image, self.rows.category, len(self.images))
        return CsvBoxes(self.images, tuple(self.categories), frozenset(self.known), self.unnamed, rows, self.faults)

    def _places(self, header: Sequence[str], where: str) -> list[int | None]:
        """Return the places of the image, category, four edges and crowd in the header."""
        columns = self.columns
        named = [columns.image, columns.category, columns.xmin, columns.ymin, columns.xmax, columns.ymax]
        if columns.crowd is not None or _GROUP in header:
            named.append(columns.crowd or _GROUP)
        for name in named:
            if name not in header:
                raise ConfigError(
                    f"{where} has no column {name!r}; it has: {_short(header) or 'none'}; see dataset.columns"
                )
        return [header.index(name) for name in named] + [None] * (7 - len(named))

    def _row(self, row: Sequence[str], places: Sequence[int | None], where: str) -> None:
        cells = ["" if place is None or place >= len(row) else row[place].strip() for place in places]
        name, code, *edges, crowd = cells
        if not name:
            self.unnamed += 1
            return
        image = self.images.setdefault(key_named(name, self.folder), len(self.images))
        if not code and not any(edges):  # an image without objects
            return
        if self.names is not None and code not in self.names:
            self.faults.setdefault(image, ("unknown-category", f"{where}: no class has the code {code!r}"))
            return
        category = self.names[code] if self.names is not None else code
        if category:
            self.known.add(category)
        if self.wanted is not None and category not in self.wanted:
            return
        box = self._box(edges)
        if not category or box is None:
            what = f"no box in {self.unit}s: {_short(edges)}" if category else "no category"
            self.faults.setdefault(image, ("bad-annotation", f"{where}: {what}"))
            return
        kind = self.categories.setdefault(category, len(self.categories))
        self.rows.add(image, kind, crowd in ("1", "1.0", "true", "True"), box)

    def _box(self, edges: Sequence[str]) -> list[float] | None:
        try:
            box = [float(edge) for edge in edges]
        except ValueError:
            return None
        if self.unit == "fraction" and not all(-_SLACK <= edge <= 1 + _SLACK for edge in box):
            return None
        return box


def key_named(name: str, folder: str) -> str:
    """Return the key of the image that a table names: its path, perhaps behind the folder of images."""
    path = name.replace("\\", "/").removeprefix("./")
    return key_of(path.removeprefix(f"{folder}/"))


def _short(cells: Sequence[str]) -> str:
    """Return cells in one short line."""
    text = " ".join(", ".join(cells).split())
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}..."


def parse_classes(data: bytes, where: str) -> dict[str, str]:
    """Read a table of classes, `code,name` a line, with Open Images' header or without one.

    Raises:
        ConfigError: It is no such table, or a name or a code comes twice.
    """
    try:
        rows = [[cell.strip() for cell in row] for row in _reader(data, where) if row]
    except csv.Error as error:
        raise ConfigError(f"{where}: not a CSV table ({error})") from None
    rows = rows[1:] if rows[:1] == [_CLASSES_HEADER] else rows
    if any(len(row) != 2 for row in rows):
        raise ConfigError(f"{where}: expected a code and a name a line")
    names = dict(rows)
    if len(names) < len(rows):
        raise ConfigError(f"{where} names a code twice")
    checked_categories(list(names.values()), where)
    return names


def _reader(data: bytes, where: str) -> Any:
    return csv.reader(io.StringIO(decode_text(data, where), newline=""))
