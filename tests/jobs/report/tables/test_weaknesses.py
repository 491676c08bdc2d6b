"""The table of weaknesses, and what it advises."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.report.read.analysis import Analysis, Weakness, analyse
from jobs.report.read.split_objects import Source
from jobs.report.tables.weaknesses import weakness_table

SIZES = {"small": 0.1, "medium": 0.3, "large": 0.5}


@pytest.fixture
def analysis(source: Source) -> Analysis:
    costs = {"classification": 0.02, "localisation": 0.2, "background": 0.005, "no proposal": 0.03}
    cat = Weakness("cat", 0.4, 10, SIZES, 0.5, costs, (("dog", 3), ("cow", 1)))
    dog = Weakness("dog", 0.6, 30, {**SIZES, "small": None}, 0.9, dict.fromkeys(costs, 0.0), ())
    none = Weakness("cow", None, 0, dict.fromkeys(SIZES), None, dict.fromkeys(costs, 0.0), ())
    return replace(analyse(source, 64), weaknesses=(cat, dog, none))


def test_the_dearest_of_a_row_is_bold_and_the_mean_is_over_those_with_objects(analysis: Analysis):
    table = weakness_table(analysis)
    assert table.kinds == ("classification", "localisation", "background", "no proposal")
    assert table.mean.figures == ("50.0", "40", "10.0", "30.0", "50.0", "70.0")
    assert [cell.text for cell in table.mean.costs] == ["1.0", "10.0", "0.2", "1.5"]
    cat, dog, cow = table.rows
    assert [cell.best for cell in cat.costs] == [False, True, False, False]
    assert cat.confused == "dog (3), cow (1)"
    assert not any(cell.best for cell in dog.costs)
    assert {cell.text for cell in cow.costs} == {"\u2013"}
    assert not table.partial
    assert weakness_table(replace(analysis, units=analysis.units[:1])).partial


def test_advice_is_by_cost_and_fits_the_detector(analysis: Analysis):
    lines = weakness_table(analysis).advice
    assert [line.split(" costs ")[0] for line in lines[:3]] == ["Localisation", "No proposal", "Classification"]
    assert "costs 10.0 points of mAP, most for cat (20.0): more windows" in lines[0]  # it is regressed
    assert "windows overlap 70.0 % of the objects enough" in lines[1]
    assert lines[3].startswith("AP is 10.0 % on small objects and 50.0 % on large ones")
    assert len(lines) == 4  # background is too cheap to mention
    plain = replace(analysis.source.evaluation, chosen=0)
    source = replace(analysis.source, evaluation=plain)
    assert "train-regressors" in weakness_table(replace(analysis, source=source)).advice[0]


def test_without_objects_there_is_no_table(analysis: Analysis):
    assert weakness_table(replace(analysis, weaknesses=analysis.weaknesses[2:])) is None
