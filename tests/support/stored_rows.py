"""Examples and detections row by row, as tests look at them, and boxes regressed a category at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipelines.artifacts.detections import DetectionRow, DetectionTable, encode_detection_table
from pipelines.artifacts.examples import Examples, ExamplesFile, no_examples
from pipelines.shards.windowed import WindowedImage
from sppnet.detection.detector import Detector


def decode_examples(data: bytes, where: str, category: str) -> Examples:
    found = ExamplesFile(data, where).read((category,))
    return found[0] if found else no_examples(category, 0)


def table_of_rows(rows: Sequence[DetectionRow]) -> DetectionTable:
    """The inverse of `DetectionTable.rows`."""
    keys = {key: number for number, key in enumerate(dict.fromkeys(row.key for row in rows))}
    categories = {name: number for number, name in enumerate(dict.fromkeys(row.category for row in rows))}
    none = (np.nan,) * 4
    return DetectionTable(
        keys=tuple(keys),
        categories=tuple(categories),
        image=np.array([keys[row.key] for row in rows], dtype=np.int32),
        category=np.array([categories[row.category] for row in rows], dtype=np.int32),
        scores=np.array([row.score for row in rows], dtype=np.float32),
        boxes=np.array([row.box for row in rows], dtype=np.float32).reshape(-1, 4),
        regressed=np.array([row.regressed or none for row in rows], dtype=np.float32).reshape(-1, 4),
    )


def encode_detections(rows: Sequence[DetectionRow]) -> bytes:
    return encode_detection_table(table_of_rows(rows))


def regressed(
    detector: Detector, category: str, image: WindowedImage, boxes: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32] | None:
    """Boxes moved by a category's regressor; None where it has none."""
    moved = detector.regress(image.maps, image.image_wh, boxes, np.arange(len(boxes)), [category] * len(boxes))
    return None if np.isnan(moved).all() else moved
