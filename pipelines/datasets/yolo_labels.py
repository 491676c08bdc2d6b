"""YOLO's text: a label file for each image, and the names of the classes."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from pipelines.artifacts.annotations import Box
from pipelines.datasets.keys import checked_categories, parse_categories
from pipelines.engine.text import decode_text
from pipelines.engine.yaml_text import BYTES
from sppnet.errors import ConfigError, DataError
from sppnet.outside import parsing

_SLACK = 1e-3
"""By so much a fraction may leave 0..1: programs round."""


@dataclass(frozen=True, slots=True)
class YoloNames:
    """What `data.yaml`, or a list of classes, says.

    Attributes:
        classes: The classes' names by their numbers from 0.
        places: Where the images of each split are, as the file has it.
        keypoints: Whether rows hold keypoints behind the box.
    """

    classes: tuple[str, ...]
    places: Mapping[str, tuple[str, ...]]
    keypoints: bool = False

    @classmethod
    def parse(cls, data: bytes, where: str) -> YoloNames:
        """Read the file.

        Args:
            data: YAML with `names` (a list, or a mapping from numbers) and perhaps `train`, `val` and `kpt_shape`; or
                text with a name a line, if its name ends with `.txt` or `.names`.
            where: Its place, for messages.

        Raises:
            ConfigError: It is neither, or its names are none: absent, doubled, numbers missing.
        """
        if where.endswith((".txt", ".names")):
            return cls(parse_categories(data, where), {})
        body = _yaml(decode_text(data, where), where)
        if not isinstance(body, dict) or "names" not in body:
            raise ConfigError(f"{where}: has no 'names'")
        splits = {key: _paths(body[key]) for key in body if key not in ("names", "path", "kpt_shape", "nc")}
        return cls(_classes(body["names"], where), splits, "kpt_shape" in body)


def _yaml(text: str, where: str) -> Any:
    """Read YAML of which every scalar stays the text that it is: a class may be called `no`, or `1e3`."""
    if len(text) > BYTES:
        raise ConfigError(f"{where}: {len(text)} characters, at most {BYTES} of YAML are read")
    with parsing(lambda why: ConfigError(f"{where}: not YAML ({why})")):
        return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  # makes lists, mappings and text only


def _classes(given: Any, where: str) -> tuple[str, ...]:
    names = given
    if isinstance(given, dict):
        numbers = [str(number) for number in range(len(given))]
        if set(given) != set(numbers):
            raise ConfigError(f"{where}: names must be numbered 0 to {len(given) - 1}, without gaps")
        names = [given[number] for number in numbers]
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f"{where}: 'names' is neither a list of names nor a mapping from numbers to names")
    return checked_categories(names, where)


def _paths(given: Any) -> tuple[str, ...]:
    found = given if isinstance(given, list) else [given]
    return tuple(path for path in found if isinstance(path, str) and path)


def labels_of(image: str) -> str:
    """Return the path of an image's label file: in `labels` where the image is in `images`, else beside it."""
    stem = posixpath.splitext(f"/{image}")[0]
    head, found, tail = stem.rpartition("/images/")
    return f"{f'{head}/labels/{tail}' if found else stem}.txt".removeprefix("/")


def parse_labels(data: bytes, classes: int, where: str, *, keypoints: bool = False) -> list[tuple[int, Box]]:
    """Read a label file: `class cx cy width height` a line, fractions of the image's sides.

    A line of more numbers is an outline, `class x y x y x y ...`, if it has three points or more; its object's box is
    the smallest around them. With keypoints, the first four numbers are the box.

    Args:
        data: The file.
        classes: How many there are.
        where: The image's key, for messages.
        keypoints: Whether the data set has them.

    Returns:
        Class and box `(x0, y0, x1, y1)` in fractions, a row each.

    Raises:
        DataError: `bad-annotation` or `unknown-category`; the message has the line's number.
    """
    try:
        text = decode_text(data, where)
    except ConfigError as error:
        raise DataError("bad-annotation", str(error)) from None
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        columns = line.split()
        if columns:
            found.append(_row(columns, classes, f"{where}: line {number}", keypoints))
    return found


def _row(columns: Sequence[str], classes: int, where: str, keypoints: bool) -> tuple[int, Box]:
    try:
        kind, *values = map(float, columns)
    except ValueError:
        raise DataError("bad-annotation", f"{where}: {' '.join(columns)[:60]!r} is not numbers only") from None
    if not 0 <= kind < classes or not kind.is_integer():
        raise DataError("unknown-category", f"{where}: class {columns[0]}; there are 0 to {classes - 1}")
    if keypoints and len(values) > 4:
        values = values[:4]
    for value in values:
        if not -_SLACK <= value <= 1 + _SLACK:  # NaN neither
            raise DataError("bad-annotation", f"{where}: {value:g} is not a fraction of the image's side")
    if len(values) == 4:
        x, y, width, height = values
        return int(kind), (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    if len(values) >= 6 and len(values) % 2 == 0:
        xs, ys = values[::2], values[1::2]
        return int(kind), (min(xs), min(ys), max(xs), max(ys))
    raise DataError(
        "bad-annotation", f"{where}: {len(values)} numbers behind the class, neither a box of 4 nor an outline's points"
    )
