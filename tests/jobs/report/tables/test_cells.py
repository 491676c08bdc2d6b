"""Cells: what is printed decides what is best."""

from __future__ import annotations

from jobs.formatting import NONE
from jobs.report.tables.cells import Cell, percent_column


def test_the_largest_as_printed_is_the_best() -> None:
    assert percent_column([0.5, 0.61234, 0.61229, None]) == [
        Cell("50.0", False),
        Cell("61.2", True),
        Cell("61.2", True),
        Cell(NONE, False),
    ]


def test_a_single_number_and_none_at_all_have_no_best() -> None:
    assert percent_column([0.5]) == [Cell("50.0", False)]
    assert percent_column([None, None]) == [Cell(NONE, False)] * 2
