"""COCO's results: one JSON list, boxes as `[x, y, width, height]`, 0-based."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from pipelines.artifacts.detections import DetectionTable
from pipelines.outputs.ids import Numbers

FILE = "coco_{split}.json"


def write_coco(tables: Iterable[DetectionTable], numbers: Numbers, split: str, folder: Path) -> list[Path]:
    """Write the results.

    Args:
        tables: The detections, in pieces.
        numbers: Of the images and categories.
        split: Named in the file's name.
        folder: An empty folder.

    Raises:
        ConfigError: An image or a category has no number.
    """
    path = folder / FILE.format(split=split)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(_lines(tables, numbers))
    return [path]


def encode_coco(table: DetectionTable, numbers: Numbers) -> bytes:
    """Encode some images' results as a list of their own; raise like `write_coco`."""
    return "".join(_lines([table], numbers)).encode()


def _lines(tables: Iterable[DetectionTable], numbers: Numbers) -> Iterator[str]:
    separator = "[\n"
    for table in tables:
        for entry in _entries(table, numbers):
            yield f"{separator}{entry}"
            separator = ",\n"
    yield "[]\n" if separator == "[\n" else "\n]\n"


def _entries(table: DetectionTable, numbers: Numbers) -> Iterable[str]:
    images = {image: json.dumps(numbers.of_image(table.keys[image])) for image in np.unique(table.image).tolist()}
    ids = {row: json.dumps(numbers.of_category(table.categories[row])) for row in np.unique(table.category).tolist()}
    corners = table.boxes.astype(np.float64)
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    columns = (table.image.tolist(), table.category.tolist(), table.scores.tolist(), boxes.tolist())
    for image, category, score, (x, y, w, h) in zip(*columns, strict=True):
        yield (
            f'{{"image_id": {images[image]}, "category_id": {ids[category]}, '
            f'"bbox": [{x:.10g}, {y:.10g}, {w:.10g}, {h:.10g}], "score": {score:.9g}}}'
        )
