"""Tables of proposals: recall of all windows of each step, and by category."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from jobs import formatting
from jobs.report.read.recall import RecallEvaluation, RecallRow
from jobs.report.tables.cells import Cell, percent_column

SHOWN_IOUS = (0.5, 0.7)
"""Overlaps at which recall is shown as a number, and against the number of windows, if it was measured there."""


@dataclass(frozen=True, slots=True)
class RecallTable:
    """Figures of all windows.

    Attributes:
        columns: Headings of the figures: recall at some overlaps, and average recall; all in percent.
        rows: By step of windows, a cell per column.
        categories: By category: its name, its objects, and the average recall of each step, percent.
        misses: Whether some step has images without windows, whose objects it misses.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    categories: tuple[tuple[str, int, tuple[Cell, ...]], ...]
    misses: bool


def shown_places(evaluation: RecallEvaluation) -> list[int]:
    """Return the places of the overlaps that are shown."""
    return [i for i, iou in enumerate(evaluation.ious) if any(math.isclose(iou, wanted) for wanted in SHOWN_IOUS)]


def recall_table(evaluation: RecallEvaluation) -> RecallTable:
    """Make the table of recall of all windows of each step."""
    places = shown_places(evaluation)
    wholes = [row.whole for row in evaluation.rows]
    columns = [percent_column([whole.recall[place] if whole else None for whole in wholes]) for place in places]
    columns.append(percent_column([whole.average_recall if whole else None for whole in wholes]))
    headings = tuple(f"recall at {evaluation.ious[place]:g}" for place in places)
    return RecallTable(
        columns=(*headings, "average recall"),
        rows=tuple(zip(*columns, strict=True)),
        categories=tuple(_category(name, evaluation.rows) for name in evaluation.categories),
        misses=any(row.images < evaluation.images for row in evaluation.rows),
    )


def _category(name: str, rows: Iterable[RecallRow]) -> tuple[str, int, tuple[Cell, ...]]:
    found = [row.categories.get(name, (0, None)) for row in rows]
    return name, max(objects for objects, _ in found), tuple(percent_column([average for _, average in found]))


def mean_windows(row: RecallRow) -> str:
    """Write the mean number of windows an image, in whole ones where there are many."""
    return formatting.NONE if row.windows_per_image is None else formatting.significant(row.windows_per_image)
