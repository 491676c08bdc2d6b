"""Recall of proposals as plots and tables: against IoU, against the number of windows, and by category."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from jobs import formatting
from jobs.report.plots.curves import Line, Panel, recall_panel
from jobs.report.read.recall import RecallEvaluation, RecallRow
from jobs.report.tables.detection import Cell, percent_column

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


def recall_table(evaluation: RecallEvaluation) -> RecallTable:
    """Recall of all windows of each step."""
    places = _shown(evaluation)
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


def recall_panels(evaluation: RecallEvaluation) -> tuple[Panel, ...]:
    """Recall of all windows against IoU, and at some overlaps against the number of windows; a line per step."""
    if not any(row.curves for row in evaluation.rows):
        return ()
    of = f"{evaluation.step}, {evaluation.split}"  # a page's plots need labels of their own
    lines = [_by_iou(row, evaluation.ious) for row in evaluation.rows]
    panels = [Panel("recall by IoU", "all windows", recall_panel(lines, f"Recall over IoU: {of}", over="IoU"))]
    for place in _shown(evaluation):
        iou = f"{evaluation.ious[place]:g}"
        lines = [_by_windows(row, place) for row in evaluation.rows]
        label = f"Recall at IoU {iou} over the number of windows: {of}"
        plot = recall_panel(lines, label, over="windows an image", log=True)
        panels.append(Panel(f"recall at IoU {iou}", "by windows", plot))
    return tuple(panels)


def _by_iou(row: RecallRow, ious: tuple[float, ...]) -> Line:
    """Recall of all windows; empty without objects, but it keeps its place among the colours."""
    return Line(row.name, ious, row.whole.recall) if row.whole is not None else Line(row.name, (), ())


def _by_windows(row: RecallRow, place: int) -> Line:
    """Recall at one overlap; the last point is that of all windows, at their mean number."""
    mean = row.windows_per_image or 0.0
    points = [(float(c.windows), c.recall[place]) for c in row.curves if c.windows is not None and c.windows < mean]
    if row.whole is not None and mean > 0:
        points.append((mean, row.whole.recall[place]))
    points.sort()
    return Line(row.name, tuple(count for count, _ in points), tuple(value for _, value in points))


def _shown(evaluation: RecallEvaluation) -> list[int]:
    """Places of the overlaps that are shown."""
    return [i for i, iou in enumerate(evaluation.ious) if any(math.isclose(iou, wanted) for wanted in SHOWN_IOUS)]


def mean_windows(row: RecallRow) -> str:
    """The mean number of windows an image, in whole ones where there are many."""
    return formatting.NONE if row.windows_per_image is None else formatting.significant(row.windows_per_image)
