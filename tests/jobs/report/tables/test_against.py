"""The detector of this run beside that of another."""

from __future__ import annotations

from jobs.report.read.detection import Evaluation
from jobs.report.tables.against import against_table
from jobs.run.compare import MEAN, ComparedAp, Comparison, Pair
from jobs.run.differences import Difference
from tests.support.reported import detector_score

HERE = Evaluation("evaluate", "val", (detector_score("fc7", {"cat": 0.5, "dog": 0.7}, 0.6),))


def compared(*rows: tuple[str, str, float | None, float | None]) -> Comparison:
    aps = tuple(ComparedAp(detector, category, "voc07", Pair(a, b)) for detector, category, a, b in rows)
    noise = ComparedAp("fc7", MEAN, "area", Pair(0.9, 0.1))
    change = Difference("svms.c", 0.001, None)
    return Comparison("small/a", "small/b", (change,), (*aps, noise), (), (), Pair(1.0, 2.0))


def test_the_same_detector_is_compared():
    found = compared(
        ("fc7", MEAN, 0.55, 0.6), ("fc7", "cat", 0.5, 0.5), ("fc7", "dog", None, 0.7), ("x", MEAN, 0.9, 0.9)
    )
    table = against_table(found, HERE)
    assert (table.there, table.here, table.detectors) == ("small/a", "small/b", ("fc7", "fc7"))
    assert table.rows == (
        ("mean", "55.0", "60.0", "+5.0"),
        ("cat", "50.0", "50.0", "+0.0"),
        ("dog", "\u2013", "70.0", "\u2013"),
    )
    assert table.recipe == (("svms.c", "0.001", "\u2013"),)


def test_where_the_other_run_has_none_of_that_name_its_best_is_taken():
    found = compared(("a", MEAN, 0.3, None), ("b", MEAN, 0.4, None), ("b", "cat", 0.2, None), ("fc7", MEAN, None, 0.6))
    table = against_table(found, HERE)
    assert table.detectors == ("b", "fc7")
    assert table.rows[:2] == (("mean", "40.0", "60.0", "+20.0"), ("cat", "20.0", "\u2013", "\u2013"))
