"""The result tables: which numbers stand where, and which are the best of their column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jobs.report import figures
from jobs.report.model import CategoryScore, DetectorScore, Evaluation

NO_SCORE = CategoryScore(None, None, 0, 0, 0, None)
"""Stands for a category that a detector does not know."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A number of a result table, and whether it is its column's best."""

    text: str
    best: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A result table, detectors by categories.

    Attributes:
        title: The metric.
        rows: Per detector, the mean and then each category.
    """

    title: str
    rows: tuple[tuple[Cell, ...], ...]


def result_tables(evaluation: Evaluation) -> tuple[Table, Table]:
    """The 11-point table and the area table."""
    return (
        _table("VOC 2007 11-point", evaluation, lambda row: row.voc07_map, lambda score: score.voc07_ap),
        _table("Area under the curve", evaluation, lambda row: row.area_map, lambda score: score.area_ap),
    )


def _table(
    title: str,
    evaluation: Evaluation,
    mean: Callable[[DetectorScore], float | None],
    ap: Callable[[CategoryScore], float | None],
) -> Table:
    texts = [
        [figures.percent(mean(row))]
        + [figures.percent(ap(row.categories.get(name, NO_SCORE))) for name in evaluation.categories]
        for row in evaluation.rows
    ]
    columns = [_best(column) for column in zip(*texts, strict=True)]
    rows = tuple(tuple(Cell(text, text == columns[i]) for i, text in enumerate(row)) for row in texts)
    return Table(title, rows)


def _best(column: Sequence[str]) -> str | None:
    """The largest number as printed, so that equals are bold together; None if there is nothing to compare."""
    numbers = [text for text in column if text != figures.NONE]
    return max(numbers, key=float) if len(column) > 1 and numbers else None
