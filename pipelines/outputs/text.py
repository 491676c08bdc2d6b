"""VOC's comp4 files and ILSVRC DET's submission: text, boxes 1-based and inclusive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.artifacts.detections import DetectionTable
from pipelines.outputs.ids import Numbers
from sppnet.arrays import Float32s, Float64s
from sppnet.errors import ConfigError

_FIRST_PIXEL = np.array([1.0, 1.0, 0.0, 0.0])

DET_FILE = "det_submission_{split}.txt"


def one_based(boxes: Float32s) -> Float64s:
    """Return VOC's and ILSVRC's corners of 0-based half-open boxes `[n, 4]`: `xmin ymin xmax ymax`, inclusive."""
    corners: Float64s = boxes.astype(np.float64) + _FIRST_PIXEL
    return corners


def zero_based(corners: Float64s) -> Float32s:
    """Return the inverse of `one_based`."""
    boxes: Float32s = (corners - _FIRST_PIXEL).astype(np.float32)
    return boxes


def lines(table: DetectionTable, names: Iterable[str]) -> Iterator[str]:
    """Yield `<name> <score> <xmin> <ymin> <xmax> <ymax>` a detection: scores to the bit, pixels to six decimals."""
    columns = zip(names, table.scores.tolist(), one_based(table.boxes).tolist(), strict=True)
    for name, score, (x0, y0, x1, y1) in columns:
        yield f"{name} {score:.9g} {x0:.10g} {y0:.10g} {x1:.10g} {y1:.10g}\n"


def voc_file(split: str, category: str) -> str:
    """Return the name of a category's results file, as the development kit has it."""
    return f"comp4_det_{split}_{category}.txt"


def write_voc(tables: Iterable[DetectionTable], categories: Iterable[str], split: str, folder: Path) -> list[Path]:
    """Write a comp4 file for each category, an empty one where nothing was found.

    Args:
        tables: The detections, in pieces.
        categories: All that were scored.
        split: Named in the files' names.
        folder: An empty folder.

    Raises:
        ConfigError: A category's name can't be part of a file's.
    """
    paths: list[Path] = []
    for category in categories:
        if "/" in category or category in ("", ".", ".."):
            raise ConfigError(f"category {category!r} can't be part of a file's name")
        paths.append(folder / voc_file(split, category))
    for path in paths:
        path.touch()
    places = {path.name: path for path in paths}
    for table in tables:
        for number in np.unique(table.category).tolist():
            own = table.select(table.category == number)
            # Opened anew for each piece: hundreds of files can't all stay open everywhere.
            with places[voc_file(split, table.categories[number])].open("a", encoding="utf-8") as file:
                file.writelines(lines(own, (own.keys[image] for image in own.image.tolist())))
    return paths


def read_voc(data: bytes, category: str, where: str) -> DetectionTable:
    """Read a comp3 or comp4 file.

    Raises:
        ConfigError: It is something else; the message names `where` and the line.
    """
    rows = [line.split() for line in data.decode("utf-8", "replace").splitlines()]
    try:
        values = np.array([[float(value) for value in row[1:]] for row in rows]).reshape(len(rows), 5)
    except ValueError as error:
        wrong = next((n for n, row in enumerate(rows, 1) if len(row) != 6 or not all(map(_is_number, row[1:]))), 0)
        raise ConfigError(f"{where}: line {wrong} is not '<image> <score> <xmin> <ymin> <xmax> <ymax>'") from error
    keys = {key: number for number, key in enumerate(dict.fromkeys(row[0] for row in rows))}
    image = np.array([keys[row[0]] for row in rows], np.int32)
    return _table(tuple(keys), (category,), image, np.zeros(len(rows), np.int32), values)


def write_det(tables: Iterable[DetectionTable], numbers: Numbers, split: str, folder: Path) -> list[Path]:
    """Write ILSVRC DET's submission: `<image index> <DET id> <confidence> <xmin> <ymin> <xmax> <ymax>` a line.

    Raises:
        ConfigError: An image or a category has no number.
    """
    path = folder / DET_FILE.format(split=split)
    with path.open("w", encoding="utf-8") as file:
        for table in tables:
            images = {image: numbers.of_image(table.keys[image]) for image in np.unique(table.image).tolist()}
            ids = {row: numbers.of_category(table.categories[row]) for row in np.unique(table.category).tolist()}
            pairs = zip(table.image.tolist(), table.category.tolist(), strict=True)
            file.writelines(lines(table, (f"{images[image]} {ids[category]}" for image, category in pairs)))
    return [path]


def read_det(data: bytes, numbers: Numbers, where: str) -> DetectionTable:
    """Read ILSVRC DET's submission, this project's or any other's.

    Raises:
        ConfigError: It is something else, or has an image index or DET id that `numbers` does not know.
    """
    rows = [line.split() for line in data.decode("utf-8", "replace").splitlines()]
    try:
        values = np.array(rows, dtype=np.float64).reshape(len(rows), 7)
    except ValueError as error:
        wrong = next((n for n, row in enumerate(rows, 1) if len(row) != 7 or not all(map(_is_number, row))), 0)
        raise ConfigError(
            f"{where}: line {wrong} is not '<image index> <id> <confidence> <xmin> <ymin> <xmax> <ymax>'"
        ) from error
    image, keys = _places(values[:, 0], numbers.images, f"{where}: image index")
    category, categories = _places(values[:, 1], numbers.categories, f"{where}: id")
    return _table(keys, categories, image, category, values[:, 2:])


def _places(given: Float64s, numbers: Mapping[str, int], what: str) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """Return, of numbers in a file, indices into the names that have them, in order of their numbers."""
    ordered = sorted((number, name) for name, number in numbers.items())
    known = np.array([number for number, _ in ordered], dtype=np.float64)
    place = np.minimum(np.searchsorted(known, given), max(len(known) - 1, 0))
    strange = np.flatnonzero(known[place] != given) if len(known) else np.arange(len(given))
    if len(strange):
        raise ConfigError(f"{what} {given[strange[0]]:g} in line {strange[0] + 1} is not known")
    return place.astype(np.int32), tuple(name for _, name in ordered)


def _table(
    keys: tuple[str, ...],
    categories: tuple[str, ...],
    image: npt.NDArray[np.int32],
    category: npt.NDArray[np.int32],
    values: Float64s,
) -> DetectionTable:
    none = np.full((len(values), 4), np.nan, np.float32)
    scores, boxes = values[:, 0].astype(np.float32), zero_based(values[:, 1:])
    return DetectionTable(keys, categories, image, category, scores, boxes, none)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
