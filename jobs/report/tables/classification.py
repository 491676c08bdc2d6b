"""Tables of classification: errors by network and views, accuracy by class, and what is taken for what."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs import formatting
from jobs.report.read.classification import METRICS, ClassEvaluation, ClassRow, Figure
from jobs.report.tables.cells import Cell

_CLASSES_AT_MOST = 120
_ROWS_AT_MOST = 8
_CONFUSIONS = 12
_SCALED = re.compile(r"(.+)-(\d{1,5})")
_POINTS_AT_LEAST = 3


@dataclass(frozen=True, slots=True)
class FigureTable:
    """One table of figures.

    Attributes:
        title: The metric, or empty where the columns are metrics.
        columns: Headings.
        names: Of the rows.
        rows: A cell per column.
    """

    title: str
    columns: tuple[str, ...]
    names: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class PerClassTable:
    """Accuracy by class.

    Attributes:
        columns: Network and views of each column.
        rows: Class, then a cell per column.
        left_out: Classes between the best and the worst that are not shown.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often images of one class are taken for another: `count` images, a `share` (0..1) of the class's."""

    truth: str
    taken_for: str
    count: int
    share: float


def figure_tables(evaluation: ClassEvaluation) -> tuple[FigureTable, ...]:
    """Make a table per metric, networks by views; of one set of views a single table, networks by metrics."""
    if len(evaluation.views) == 1:
        found = {(row.name, metric): figure for row in evaluation.rows for metric, figure in row.figures.items()}
        columns = tuple((METRICS[name].title, name, name) for name in evaluation.metrics)
        return (_table("", evaluation.names, columns, found),)
    tables = []
    for metric in evaluation.metrics:
        found = {(row.name, row.views): row.figures[metric] for row in evaluation.rows if metric in row.figures}
        columns = tuple((views, views, metric) for views in evaluation.views)
        tables.append(_table(METRICS[metric].title, evaluation.names, columns, found))
    return tuple(tables)


def _table(
    title: str,
    names: Sequence[str],
    columns: Sequence[tuple[str, str, str]],
    found: dict[tuple[str, str], Figure],
) -> FigureTable:
    """Make a table of columns given as heading, key and metric."""
    cells = []
    for _, key, metric in columns:
        column = [found.get((name, key)) for name in names]
        cells.append(_column(column, lower_is_better=METRICS[metric].lower_is_better))
    rows = tuple(zip(*cells, strict=True))
    return FigureTable(title, tuple(heading for heading, _, _ in columns), tuple(names), rows)


def _column(column: Sequence[Figure | None], *, lower_is_better: bool) -> list[Cell]:
    """Mark the best cells: equals, as printed, are bold together; a single number is not."""
    means = [formatting.percent(figure.mean) for figure in column if figure is not None]
    best = (min if lower_is_better else max)(means, key=float) if len(means) > 1 else None
    return [
        Cell(formatting.NONE, False)
        if figure is None
        else Cell(formatting.with_deviation(figure.mean, figure.deviation), formatting.percent(figure.mean) == best)
        for figure in column
    ]


def scale_curves(evaluation: ClassEvaluation) -> Mapping[str, Mapping[str, tuple[tuple[int, Figure], ...]]]:
    """Find figures over scales: of views that differ in the number that their names end in, as `full-392`.

    Returns:
        By metric and what is shown, three scales or more, rising, with their figures.
    """
    found: dict[str, dict[tuple[str, str], dict[int, Figure]]] = {}
    for row in evaluation.rows:
        scaled = _SCALED.fullmatch(row.views)
        if scaled is not None:
            for metric, figure in row.figures.items():
                found.setdefault(metric, {}).setdefault((row.name, scaled[1]), {})[int(scaled[2])] = figure
    curves = {
        metric: {key: tuple(sorted(points.items())) for key, points in lines.items() if len(points) >= _POINTS_AT_LEAST}
        for metric, lines in found.items()
    }
    kinds = {views for lines in curves.values() for _, views in lines}
    return {
        metric: {name if len(kinds) == 1 else f"{name}, {views}": points for (name, views), points in lines.items()}
        for metric, lines in curves.items()
        if lines
    }


def per_class_table(evaluation: ClassEvaluation) -> PerClassTable | None:
    """Make the table of classes: the last row and the others under its views; None where no row has classes."""
    final = next((row for row in reversed(evaluation.rows) if row.classes), None)
    if final is None:
        return None
    shown = [row for row in evaluation.rows if row.views == final.views and row.classes][-_ROWS_AT_MOST:]
    names = sorted(final.classes, key=lambda name: -(final.classes[name] or 0.0))
    left_out = max(0, len(names) - _CLASSES_AT_MOST)
    if left_out:
        names = names[: _CLASSES_AT_MOST // 2] + names[-_CLASSES_AT_MOST // 2 :]
    rows = tuple((name, _class_cells(name, shown)) for name in names)
    return PerClassTable(tuple(row_name(row, evaluation) for row in shown), rows, left_out)


def _class_cells(name: str, rows: Sequence[ClassRow]) -> tuple[Cell, ...]:
    values = [row.classes.get(name) for row in rows]
    return tuple(_column([None if value is None else Figure(value) for value in values], lower_is_better=False))


def row_name(row: ClassRow, evaluation: ClassEvaluation) -> str:
    """Tell what a row is called beside others: with its views where there are several."""
    return f"{row.name}, {row.views}" if len(evaluation.views) > 1 else row.name


def confusions(row: ClassRow) -> tuple[Confusion, ...]:
    """Find the most frequent confusions of two classes, by count."""
    totals: Counter[int] = Counter()
    for truth, _, images in row.confusion:
        totals[truth] += images
    found = [
        Confusion(row.labels[truth], row.labels[taken], images, images / totals[truth])
        for truth, taken, images in row.confusion
        if truth != taken
    ]
    found.sort(key=lambda entry: (-entry.count, -entry.share, entry.truth, entry.taken_for))
    return tuple(found[:_CONFUSIONS])
