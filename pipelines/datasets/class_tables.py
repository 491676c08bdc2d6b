"""Tables beside class folders: what each folder is, and where the objects are."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.artifacts.annotations import Box
from pipelines.datasets.keys import composed, key_of, path_of
from pipelines.engine.text import decode_text
from sppnet.errors import ConfigError, DataError

_EDGES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, slots=True)
class ClassTable:
    """The category and subcategory of every class folder.

    Attributes:
        classes: Category and subcategory by folder.
        names: The categories' names for people.
    """

    classes: Mapping[str, tuple[str, str | None]]
    names: Mapping[str, str]

    @classmethod
    def parse(cls, text: bytes, columns: Mapping[str, str | None], where: str) -> ClassTable:
        """Read a CSV file.

        Args:
            text: The file, with a header.
            columns: Names of the columns for `folder`, `category`, `subcategory` and `name`; the last two may be None.
            where: The file's place, for messages.

        Raises:
            ConfigError: A column is missing, there are no rows, or a folder comes twice.
        """
        rows = parse_table(text, [name for name in columns.values() if name], where)
        if not rows:
            raise ConfigError(f"{where} holds no classes")
        classes: dict[str, tuple[str, str | None]] = {}
        names = {}
        folder_column, category_column = columns["folder"] or "", columns["category"] or ""
        subcategory_column, name_column = columns["subcategory"], columns["name"]
        for row in rows:
            folder, category = composed(row[folder_column]), row[category_column]
            if folder in classes:
                raise ConfigError(f"{where} names the folder {folder!r} twice")
            classes[folder] = category, row[subcategory_column] if subcategory_column else None
            if name_column:
                names[category] = row[name_column]
        return cls(classes, names)

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories in the order in which the table first names them."""
        return tuple(dict.fromkeys(category for category, _ in self.classes.values()))

    def of(self, folder: str, key: str) -> tuple[str, str | None]:
        """Return a folder's category and subcategory; raise `DataError("unknown-category")` for one not listed."""
        if folder not in self.classes:
            raise DataError("unknown-category", f"{key}: the table of classes has no {folder!r}")
        return self.classes[folder]


@dataclass(frozen=True, slots=True)
class BoxTable:
    """Boxes of the objects by image.

    Attributes:
        boxes: By the image's path below the root, without its extension: inclusive `(xmin, ymin, xmax, ymax)`.
        first_pixel: The coordinate of an image's first pixel.
    """

    boxes: Mapping[str, tuple[Box, ...]]
    first_pixel: int

    @classmethod
    def parse(cls, tables: Iterable[tuple[bytes, str]], first_pixel: int) -> BoxTable:
        """Read CSV files with the columns file, xmin, ymin, xmax, ymax, each given as text and place.

        Raises:
            ConfigError: A column is missing, or an edge is not a number.
        """
        found: dict[str, list[Box]] = {}
        for text, where in tables:
            for number, row in enumerate(parse_table(text, ("file", *_EDGES), where), 2):
                try:
                    x0, y0, x1, y1 = (float(row[edge]) for edge in _EDGES)
                except ValueError as error:
                    raise ConfigError(f"{where}: line {number}: {error}") from None
                found.setdefault(_stem(row["file"]), []).append((x0, y0, x1, y1))
        return cls({stem: tuple(boxes) for stem, boxes in found.items()}, first_pixel)

    def of(self, stem: str, key: str) -> list[Box]:
        """Return an image's boxes, 0-based half-open.

        Raises:
            DataError: `no-box`: the tables have none; `bad-box`: one whose last pixel is not beyond its first.
        """
        if stem not in self.boxes:
            raise DataError("no-box", f"{key}: the tables of boxes have no {stem}")
        for box in self.boxes[stem]:
            if not (box[2] > box[0] and box[3] > box[1]):
                raise DataError("bad-box", f"{key}: {list(box)} has no area")
        low = self.first_pixel
        return [(x0 - low, y0 - low, x1 - low + 1, y1 - low + 1) for x0, y0, x1, y1 in self.boxes[stem]]


def _stem(name: str) -> str:
    """Return a file's path as keys have it, without its extension."""
    return path_of(key_of(name.replace("\\", "/").removeprefix("./")))


def parse_table(text: bytes, columns: Sequence[str], where: str) -> list[dict[str, str]]:
    """Parse a CSV file with a header, blanks around values left out.

    Raises:
        ConfigError: It is no text, or has a missing column or a short row; the message names `where` and the line.
    """
    rows = csv.reader(io.StringIO(decode_text(text, where), newline=""), skipinitialspace=True)
    try:
        lines = [(rows.line_num, [value.strip() for value in row]) for row in rows]
    except csv.Error as error:
        raise ConfigError(f"{where}: line {rows.line_num}: {error}") from None
    filled = [(number, row) for number, row in lines if any(row)]
    names = filled[0][1] if filled else []
    for column in columns:
        if column not in names:
            raise ConfigError(f"{where} has no column {column!r}; it has: {', '.join(names) or 'none'}")
    for number, row in filled[1:]:
        if any(names.index(column) >= len(row) for column in columns):
            raise ConfigError(f"{where}: line {number} is cut short")
    return [dict(zip(names, row, strict=False)) for _, row in filled[1:]]
