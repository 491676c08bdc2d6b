"""The tables of AP: detectors by categories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from jobs.report.read.detection import CategoryScore, DetectorScore, Evaluation
from jobs.report.tables.cells import Cell, percent_column

NO_SCORE = CategoryScore(None, None, 0, 0, 0, None)
"""Stands for a category that a detector does not know."""


@dataclass(frozen=True, slots=True)
class ApTable:
    """A result table, detectors by categories.

    Attributes:
        title: What the AP is called in a sentence: "AP in percent, ...".
        heading: What is shown on demand, of a table behind the first.
        rows: Per detector, the mean and then each category.
    """

    title: str
    rows: tuple[tuple[Cell, ...], ...]
    heading: str = ""


def result_tables(evaluation: Evaluation) -> tuple[ApTable, ...]:
    """Make the table that the protocol goes by; VOC's has the area behind it, COCO's the AP at overlap 0.5."""
    main = _table(evaluation.metric, evaluation, lambda row: row.mean_ap, lambda score: score.ap)
    if evaluation.protocol == "det":
        return (main,)
    if evaluation.protocol == "coco":
        half = _table(
            "at overlap 0.5", evaluation, lambda row: row.coco.get("AP50"), lambda score: score.coco.get("AP50")
        )
        return main, replace(half, heading="AP at overlap 0.5")
    title = "area under the monotone precision-recall curve (VOC 2010 on)"
    area = _table(title, evaluation, lambda row: row.area_map, lambda score: score.area_ap)
    return main, replace(area, heading="AP as area under the curve")


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
