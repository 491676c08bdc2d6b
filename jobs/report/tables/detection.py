"""The tables of AP: detectors by categories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jobs.report.read.detection import CategoryScore, DetectorScore, Evaluation
from jobs.report.tables.cells import Cell, percent_column

NO_SCORE = CategoryScore(None, None, 0, 0, 0, None)
"""Stands for a category that a detector does not know."""


@dataclass(frozen=True, slots=True)
class ApTable:
    """A result table, detectors by categories.

    Attributes:
        title: The metric.
        rows: Per detector, the mean and then each category.
    """

    title: str
    rows: tuple[tuple[Cell, ...], ...]


def result_tables(evaluation: Evaluation) -> tuple[ApTable, ...]:
    """Make the table that the protocol goes by; VOC's has the area table behind it."""
    main = _table(evaluation.metric, evaluation, lambda row: row.mean_ap, lambda score: score.ap)
    if evaluation.protocol == "det":
        return (main,)
    area = _table("Area under the curve", evaluation, lambda row: row.area_map, lambda score: score.area_ap)
    return main, area


def _table(
    title: str,
    evaluation: Evaluation,
    mean: Callable[[DetectorScore], float | None],
    ap: Callable[[CategoryScore], float | None],
) -> ApTable:
    columns = [percent_column([mean(row) for row in evaluation.rows])]
    for name in evaluation.categories:
        columns.append(percent_column([ap(row.categories.get(name, NO_SCORE)) for row in evaluation.rows]))
    return ApTable(title, tuple(zip(*columns, strict=True)))
