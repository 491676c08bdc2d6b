"""A few detections to write in other formats, and what is equal when they are read back."""

from __future__ import annotations

import numpy as np

from pipelines.artifacts.detections import DetectionRow, DetectionTable
from pipelines.outputs.ids import Numbers

ROWS = [
    DetectionRow("a/1", "car", 0.5, (0.0, 0.0, 10.0, 20.0), None),
    DetectionRow("b", "car", -1.25, (3.3, 4.7, 100.1234, 50.0), (3.0, 4.0, 99.0, 51.0)),
    DetectionRow("b", "dog", 1 / 3, (1234.567, 0.125, 1300.0, 77.77), None),
]
NUMBERS = Numbers({"a/1": 7, "b": 20121}, {"car": 37, "dog": 200, "cat": 1})


def plain(table: DetectionTable) -> list[tuple]:
    return sorted((row.key, row.category, np.float32(row.score), *np.float32(row.box)) for row in table.rows())


def close(a: DetectionTable, b: DetectionTable) -> None:
    """Equal scores and names, boxes to a millionth of a pixel."""
    left, right = plain(a), plain(b)
    assert [row[:3] for row in left] == [row[:3] for row in right]
    np.testing.assert_allclose([row[3:] for row in left], [row[3:] for row in right], rtol=1.2e-7, atol=1e-7)


def halves(table: DetectionTable) -> list[DetectionTable]:
    return [table.select(np.arange(2)), table.select(np.arange(2, 3))]
