"""Detections read back from the files that other programs take: the inverse of what `pipelines.outputs` writes."""

from __future__ import annotations

import json

import numpy as np

from pipelines.artifacts.detections import DetectionTable
from pipelines.outputs.ids import Numbers

_FIRST_PIXEL = np.array([1.0, 1.0, 0.0, 0.0])


def read_voc(data: bytes, category: str) -> DetectionTable:
    """A comp3 or comp4 file: `<image> <score> <xmin> <ymin> <xmax> <ymax>` a line."""
    rows = [line.split() for line in data.decode().splitlines()]
    values = np.array([[float(value) for value in row[1:]] for row in rows]).reshape(len(rows), 5)
    keys = {key: number for number, key in enumerate(dict.fromkeys(row[0] for row in rows))}
    image = np.array([keys[row[0]] for row in rows], np.int32)
    return _table(tuple(keys), (category,), image, np.zeros(len(rows), np.int32), values)


def read_det(data: bytes, numbers: Numbers) -> DetectionTable:
    """ILSVRC DET's submission: `<image index> <id> <confidence> <xmin> <ymin> <xmax> <ymax>` a line."""
    values = np.array([line.split() for line in data.decode().splitlines()], dtype=np.float64).reshape(-1, 7)
    image, keys = _places(values[:, 0], numbers.images)
    category, categories = _places(values[:, 1], numbers.categories)
    return _table(keys, categories, image, category, values[:, 2:])


def read_coco(data: bytes, numbers: Numbers) -> DetectionTable:
    """COCO's results, of images and categories that `numbers` knows."""
    found = json.loads(data)
    images = {number: place for place, number in enumerate(numbers.images.values())}
    ids = {number: place for place, number in enumerate(numbers.categories.values())}
    boxes = np.array([entry["bbox"] for entry in found], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return DetectionTable(
        tuple(numbers.images),
        tuple(numbers.categories),
        np.array([images[entry["image_id"]] for entry in found], np.int32),
        np.array([ids[entry["category_id"]] for entry in found], np.int32),
        np.array([entry["score"] for entry in found], np.float32),
        boxes.astype(np.float32),
        np.full((len(found), 4), np.nan, np.float32),
    )


def _places(given: np.ndarray, numbers: dict[str, int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Indices into the names that numbers in a file stand for, in order of their numbers."""
    names = sorted(numbers, key=lambda name: numbers[name])
    place = {numbers[name]: index for index, name in enumerate(names)}
    return np.array([place[int(number)] for number in given], np.int32), tuple(names)


def _table(
    keys: tuple[str, ...], categories: tuple[str, ...], image: np.ndarray, category: np.ndarray, values: np.ndarray
) -> DetectionTable:
    none = np.full((len(values), 4), np.nan, np.float32)
    boxes = (values[:, 1:] - _FIRST_PIXEL).astype(np.float32)
    return DetectionTable(keys, categories, image, category, values[:, 0].astype(np.float32), boxes, none)
