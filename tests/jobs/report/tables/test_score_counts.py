"""Counts at operating scores, and on the grid that the slider moves over."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.report.read.analysis import analyse
from jobs.report.read.split_objects import Source
from jobs.report.tables.score_counts import POINTS, CountRow, score_counts, score_grid


def test_counts_at_operating_scores_and_on_the_grid(source: Source):
    found = score_counts(analyse(source, 64))
    cats, dogs = found.rows
    assert (cats.category, cats.score, cats.right, cats.missed) == ("cat", pytest.approx(2.0, abs=1e-5), 6, 0)
    assert dogs == CountRow("a dog", None, 0, (0,) * 5, 6)
    assert found.total == CountRow("all", None, 6, (0,) * 5, 6)
    grid = found.grid
    assert grid["operating"] == [cats.score, None]
    assert grid["objects"] == [6, 6]
    assert (grid["grid"][0], grid["grid"][-1], len(grid["grid"])) == (1.0, 2.0, POINTS)
    right, classification, *others = grid["counts"][0]
    assert right == [6] * POINTS
    assert (classification[0], classification[1], classification[2]) == (3, 1, 0)  # from 1.0, 1.025, 1.05 on
    assert not np.any(others)
    assert not np.any(grid["counts"][1])


def test_without_detections_the_grid_is_a_point(source: Source):
    analysis = analyse(source, 64)
    empty = type(analysis)(analysis.source, (), (), analysis.units)
    assert score_grid(empty).tolist() == [0.0]
