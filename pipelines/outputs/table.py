"""Detections as CSV, for spreadsheets and anything else: a row each, boxes in half-open pixels."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pipelines.artifacts.detections import DetectionTable

FILE = "detections_{split}.csv"
HEADER = ("image", "category", "score", "x0", "y0", "x1", "y1")


def write_csv(tables: Iterable[DetectionTable], called: Callable[[str], str], split: str, folder: Path) -> list[Path]:
    """Write one table of all.

    Args:
        tables: The detections, in pieces.
        called: Returns the name of an image's file by its key.
        split: Named in the file's name.
        folder: An empty folder.
    """
    path = folder / FILE.format(split=split)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(HEADER)
        for table in tables:
            rows.writerows(_rows(table, called))
    return [path]


def encode_csv(table: DetectionTable, called: Callable[[str], str]) -> bytes:
    """Encode some images' detections as a table of their own."""
    sink = io.StringIO(newline="")
    rows = csv.writer(sink)
    rows.writerow(HEADER)
    rows.writerows(_rows(table, called))
    return sink.getvalue().encode()


def _rows(table: DetectionTable, called: Callable[[str], str]) -> Iterator[tuple[str, ...]]:
    """Yield rows: scores to the bit, pixels to six decimals."""
    columns = zip(
        table.image.tolist(), table.category.tolist(), table.scores.tolist(), table.boxes.tolist(), strict=True
    )
    for image, category, score, box in columns:
        yield called(table.keys[image]), table.categories[category], f"{score:.9g}", *(f"{edge:.10g}" for edge in box)
