"""Why categories are weak, on a run whose figures are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.report.read.analysis import MISSED, analyse, tally
from jobs.report.read.split_objects import Source
from sppnet.evaluation.error_kinds import CLASSIFICATION, ERRORS


def test_what_errors_cost(source: Source):
    """Cats come first and are all right. Half of the dogs would be found if those that are called cats were named."""
    analysis = analyse(source, 64)
    cats, dogs = analysis.weaknesses
    assert (cats.category, cats.ap, cats.objects) == ("cat", 1.0, 6)
    assert set(cats.costs.values()) == {0.0}
    assert cats.sizes == {"small": None, "medium": 1.0, "large": None}  # 40 x 40 pixels
    assert (dogs.category, dogs.ap, dogs.objects) == ("a dog", 0.0, 6)
    assert dogs.costs == pytest.approx({**dict.fromkeys((*ERRORS, MISSED), 0.0), "classification": 6 / 11})
    assert analysis.mean_costs["classification"] == pytest.approx(3 / 11)
    assert (cats.recall, dogs.recall) == (None, None)  # no windows are there
    assert analysis.operating.tolist() == pytest.approx([2.0, np.inf], abs=1e-5)
    assert cats.confused == ()  # from the operating score on nothing is


def test_windows_of_some_shards_are_drawn_by_lot(source: Source):
    assert len(analyse(source, 64).units) == 2
    (one,) = analyse(source, 1).units
    assert one in source.units
    assert analyse(source, 1).units == (one,)


def test_counts_from_a_score_on(source: Source):
    cats = analyse(source, 64).judged[0]
    found = tally(cats, 6, np.array([1.0, 1.01, 1.5, 2.0, 2.5]))
    assert found.right.tolist() == [6, 6, 6, 6, 0]
    assert found.errors[CLASSIFICATION].tolist() == [3, 2, 0, 0, 0]
    assert found.errors.sum() == 5
    assert found.missed.tolist() == [0, 0, 0, 0, 6]
