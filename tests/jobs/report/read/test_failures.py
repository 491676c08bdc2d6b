"""False positives of the highest scores, each with the object that it is about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.report.read.analysis import Analysis, analyse
from jobs.report.read.failures import worst_failures
from jobs.report.read.split_objects import Source
from tests.support.small_page import DOG


@pytest.fixture
def analysis(source: Source) -> Analysis:
    """From a score on at which dogs are taken for cats."""
    row = source.row
    low = replace(row, categories={**row.categories, "cat": replace(row.categories["cat"], operating_score=0.5)})
    rows = tuple(low if other is row else other for other in source.evaluation.rows)
    return analyse(replace(source, evaluation=replace(source.evaluation, rows=rows)), 64)


def test_the_highest_scores_come_first_with_their_objects(analysis: Analysis):
    found = worst_failures(analysis, range(7), 24)
    assert [failure.score for failure in found] == pytest.approx([1.04, 1.02, 1.0])
    assert [analysis.source.keys[failure.place] for failure in found] == ["img4", "img2", "img0"]
    for failure in found:
        assert (failure.category, failure.kind, failure.truth, failure.overlap) == (
            "cat",
            "classification",
            "a dog",
            1.0,
        )
        assert failure.box == failure.truth_box == DOG
    assert analysis.weaknesses[0].confused == (("a dog", 3),)


def test_only_so_many_of_the_images_at_hand(analysis: Analysis):
    assert [failure.score for failure in worst_failures(analysis, range(7), 2)] == pytest.approx([1.04, 1.02])
    assert [analysis.source.keys[failure.place] for failure in worst_failures(analysis, {0, 1}, 9)] == ["img0"]
    assert worst_failures(analysis, (), 9) == []


def test_below_the_operating_score_nothing_fails(source: Source):
    assert worst_failures(analyse(source, 64), range(7), 9) == []
