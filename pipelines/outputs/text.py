"""VOC's comp4 files and ILSVRC DET's submission: text, boxes 1-based and inclusive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from pipelines.artifacts.detections import DetectionTable
from pipelines.outputs.ids import Numbers
from pipelines.outputs.names import row_name
from sppnet.arrays import Float32s, Float64s
from sppnet.errors import ConfigError

_FIRST_PIXEL = np.array([1.0, 1.0, 0.0, 0.0])

_LONGEST_NAME = 255
DET_FILE = "det_submission_{split}.txt"


def one_based(boxes: Float32s) -> Float64s:
    """Return VOC's and ILSVRC's corners of 0-based half-open boxes `[n, 4]`: `xmin ymin xmax ymax`, inclusive."""
    corners: Float64s = boxes.astype(np.float64) + _FIRST_PIXEL
    return corners


def lines(table: DetectionTable, names: Iterable[str]) -> Iterator[str]:
    """Yield `<name> <score> <xmin> <ymin> <xmax> <ymax>` a detection: scores to the bit, pixels to six decimals."""
    columns = zip(names, table.scores.tolist(), one_based(table.boxes).tolist(), strict=True)
    for name, score, (x0, y0, x1, y1) in columns:
        yield f"{name} {score:.9g} {x0:.10g} {y0:.10g} {x1:.10g} {y1:.10g}\n"


def voc_file(split: str, category: str) -> str:
    """Return the name of a category's results file, as the development kit has it."""
    return f"comp4_det_{split}_{category}.txt"


def check_voc_names(categories: Iterable[str], split: str) -> None:
    """Raise `ConfigError` for a category that can't be part of a file's name."""
    for category in categories:
        if any(mark in category for mark in "/\0") or category in ("", ".", ".."):
            raise ConfigError(f"category {category!r} can't be part of a file's name")
        if len(voc_file(split, category).encode()) > _LONGEST_NAME:
            raise ConfigError(f"category {category[:40]!r}... is too long for a file's name; take coco or parquet")


def write_voc(tables: Iterable[DetectionTable], categories: Iterable[str], split: str, folder: Path) -> list[Path]:
    """Write a comp4 file for each category, an empty one where nothing was found; see `row_name` for images' names.

    Args:
        tables: The detections, in pieces.
        categories: All that were scored.
        split: Named in the files' names.
        folder: An empty folder.

    Raises:
        ConfigError: A category's name can't be part of a file's.
    """
    names = list(categories)
    check_voc_names(names, split)
    paths = [folder / voc_file(split, category) for category in names]
    for path in paths:
        path.touch()
    places = {path.name: path for path in paths}
    for table in tables:
        for number in np.unique(table.category).tolist():
            own = table.select(table.category == number)
            # Opened anew for each piece: hundreds of files can't all stay open everywhere.
            with places[voc_file(split, table.categories[number])].open("a", encoding="utf-8") as file:
                file.writelines(lines(own, (row_name(own.keys[image]) for image in own.image.tolist())))
    return paths


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
