"""Tables of AP by category."""

from __future__ import annotations

from jobs.report.read.detection import Evaluation
from jobs.report.tables.detection import result_tables
from tests.support.reported import detector_score


def test_equals_are_bold_together_and_a_single_row_is_not():
    rows = (detector_score("a", {"cat": 0.30001}, 0.3), detector_score("b", {"cat": 0.30002}, 0.3))
    table = result_tables(Evaluation("e", "val", rows))[0]
    assert all(cell.best for row in table.rows for cell in row)
    assert not any(cell.best for row in result_tables(Evaluation("e", "val", rows[:1]))[0].rows for cell in row)
