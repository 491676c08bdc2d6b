"""COCO's results: one JSON list, boxes as `[x, y, width, height]`, 0-based."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pipelines.artifacts.detections import DetectionTable
from pipelines.outputs.ids import Numbers

FILE = "coco_{split}.json"
NUMBERS_FILE = "coco_{split}_numbers.json"


def write_coco(tables: Iterable[DetectionTable], numbers: Numbers, split: str, folder: Path) -> list[Path]:
    """Write the results, and beside them which number stands for which image and category.

    Args:
        tables: The detections, in pieces.
        numbers: Of the images and categories.
        split: Named in the files' names.
        folder: An empty folder.

    Raises:
        ConfigError: An image or a category has no number.
    """
    path, names = folder / FILE.format(split=split), folder / NUMBERS_FILE.format(split=split)
    names.write_bytes(numbers.to_json())
    with path.open("w", encoding="utf-8") as file:
        separator = "[\n"
        for table in tables:
            for entry in _entries(table, numbers):
                file.write(f"{separator}{entry}")
                separator = ",\n"
        file.write("[]\n" if separator == "[\n" else "\n]\n")
    return [path, names]


def _entries(table: DetectionTable, numbers: Numbers) -> Iterable[str]:
    images = {image: numbers.of_image(table.keys[image]) for image in np.unique(table.image).tolist()}
    ids = {row: numbers.of_category(table.categories[row]) for row in np.unique(table.category).tolist()}
    corners = table.boxes.astype(np.float64)
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    columns = (table.image.tolist(), table.category.tolist(), table.scores.tolist(), boxes.tolist())
    for image, category, score, (x, y, w, h) in zip(*columns, strict=True):
        yield (
            f'{{"image_id": {images[image]}, "category_id": {ids[category]}, '
            f'"bbox": [{x:.10g}, {y:.10g}, {w:.10g}, {h:.10g}], "score": {score:.9g}}}'
        )
