"""Tables of classification: figures by views, classes, confusions, and which of them are the best."""

from __future__ import annotations

from dataclasses import replace

from jobs import formatting
from jobs.report.page.contents import RunInfo
from jobs.report.read.classification import ClassEvaluation, Figure
from jobs.report.tables.classification import Confusion, confusions, figure_tables, per_class_table, scale_curves
from tests.support.reported import class_row

INFO = RunInfo("classes", "c.yaml", "w", 1.7e9, None, (), {})


def texts(table):
    return [[cell.text for cell in line] for line in table.rows]


def test_a_table_per_metric_networks_by_views(class_evaluation: ClassEvaluation):
    top1, top5 = figure_tables(class_evaluation)
    assert (top1.title, top1.columns, top1.names) == ("top-1 error", ("crop", "full"), ("no SPP", "SPP"))
    assert texts(top1) == [["36.0 ± 1.0", formatting.NONE], ["35.0 ± 1.2", "35.0 ± 1.1"]]
    assert [[cell.best for cell in line] for line in top1.rows] == [[False, False], [True, False]]  # the lower error
    assert top5.rows[0][0].text == "9.0 ± 1.0"


def test_of_one_set_of_views_the_columns_are_metrics(class_evaluation: ClassEvaluation):
    (table,) = figure_tables(replace(class_evaluation, rows=class_evaluation.rows[:2]))
    assert (table.title, table.columns) == ("", ("top-1 error", "top-5 error"))
    assert texts(table)[1] == ["35.0 ± 1.2", "8.8 ± 1.2"]


def test_an_accuracy_is_best_where_it_is_highest():
    rows = tuple(
        class_row(name, "full", 0, figures={"voc07_map": Figure(value)}) for name, value in (("a", 0.7), ("b", 0.6))
    )
    (table,) = figure_tables(ClassEvaluation("t", "val", "AP", "features", "splits", rows))
    assert [(line[0].text, line[0].best) for line in table.rows] == [("70.0", True), ("60.0", False)]


def test_classes_of_the_last_views_best_first(class_evaluation: ClassEvaluation):
    table = per_class_table(class_evaluation)
    assert table.columns == ("SPP, full",)
    assert [(name, cells[0].text) for name, cells in table.rows] == [
        ("tench", "80.0"),
        ("church", "60.0"),
        ("<i>gas</i> pump", formatting.NONE),
    ]
    assert per_class_table(replace(class_evaluation, rows=(replace(class_evaluation.rows[0], classes={}),))) is None
    many = replace(class_evaluation.rows[0], classes={f"c{i:04d}": i / 1000 for i in range(1000)})
    table = per_class_table(replace(class_evaluation, rows=(many,)))
    assert (len(table.rows), table.left_out, table.rows[0][0], table.rows[-1][0]) == (120, 880, "c0999", "c0000")


def test_confusions_come_by_count(class_evaluation: ClassEvaluation):
    assert confusions(class_evaluation.rows[-1]) == (
        Confusion("church", "<i>gas</i> pump", 3, 0.3),
        Confusion("tench", "church", 2, 0.2),
        Confusion("church", "tench", 1, 0.1),
    )


def test_views_that_differ_by_a_number_are_a_curve():
    views = ("full-392", "crop", "full-224", "full-512", "crop-224", "crop-280")
    rows = tuple(class_row(name, view, 0.1 * place) for name in ("a", "b") for place, view in enumerate(views))
    found = scale_curves(ClassEvaluation("t", "val", "accuracy", "network", "networks", rows[:-3]))
    assert list(found) == ["top1_error", "top5_error"]
    assert list(found["top1_error"]) == ["a"]  # of `b` two scales alone
    assert [scale for scale, _ in found["top1_error"]["a"]] == [224, 392, 512]
    assert [round(figure.mean, 3) for _, figure in found["top1_error"]["a"]] == [0.2, 0.0, 0.3]
    more = tuple(class_row("a", f"ten-{scale}", 0.5) for scale in (1, 2, 3))
    both = scale_curves(ClassEvaluation("t", "val", "accuracy", "network", "networks", (*rows, *more)))
    assert list(both["top1_error"]) == ["a, full", "b, full", "a, ten"]
    assert scale_curves(ClassEvaluation("t", "val", "accuracy", "network", "networks", more[:2])) == {}
