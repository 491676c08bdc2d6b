"""TIDE's kinds of errors and their costs, on cases worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet.evaluation.curves import Detections, GroundTruth, area_ap, eleven_point_ap
from sppnet.evaluation.det import det_thresholds, match_det
from sppnet.evaluation.error_kinds import (
    BACKGROUND,
    BOTH,
    CLASSIFICATION,
    DUPLICATE,
    ERRORS,
    LOCALISATION,
    NO_ERROR,
    JudgedDetections,
    SplitObjects,
    error_costs,
    found_objects,
    judge_errors,
    missed_objects,
)
from sppnet.evaluation.voc import match_voc

CAT, DOG = 0, 1
Box = Sequence[float]


def at(x: float, width: float = 10, height: float = 10) -> Box:
    return (x, 0, x + width, height)


def truth_of(*objects: tuple[int, Box], difficult: Sequence[bool] | None = None) -> SplitObjects:
    boxes = [box for _, box in objects]
    whole = GroundTruth.of([0] * len(objects), boxes, difficult)
    return SplitObjects(whole, np.array([c for c, _ in objects], np.int64), np.full(len(objects), 0.5))


def judged_of(truth: SplitObjects, category: int, *found: tuple[float, Box]) -> JudgedDetections:
    detections = Detections.of([0] * len(found), [box for _, box in found], [score for score, _ in found])
    own = truth.objects.select(truth.categories == category)
    return judge_errors(truth, category, detections, match_voc(own, detections))


@pytest.fixture
def truth() -> SplitObjects:
    return truth_of((CAT, at(0)), (DOG, at(20)), (CAT, at(40)), (DOG, at(60)))


@pytest.fixture
def judged(truth: SplitObjects) -> list[JudgedDetections]:
    cats = judged_of(
        truth,
        CAT,
        (0.95, at(100)),  # background
        (0.9, at(0)),  # right
        (0.8, at(0)),  # the same cat again
        (0.7, at(20)),  # a dog
        (0.6, at(40, height=4)),  # a cat, IoU 0.4
        (0.4, at(60, height=3)),  # a dog, IoU 0.3
    )
    return [cats, judged_of(truth, DOG)]


def test_every_kind_is_told_apart(judged: list[JudgedDetections], truth: SplitObjects):
    kinds = [BACKGROUND, NO_ERROR, DUPLICATE, CLASSIFICATION, LOCALISATION, BOTH]
    assert judged[0].errors.tolist() == kinds
    assert judged[0].targets.tolist() == [-1, 0, 0, 1, 2, -1]
    assert found_objects(judged, truth).tolist() == [True, False, False, False]
    assert missed_objects(judged, truth).tolist() == [False, False, False, True]


def test_costs_are_what_mending_gains(judged: list[JudgedDetections], truth: SplitObjects):
    """Cats: wrong, right, wrong x 4: one of two at precision 1/2. Dogs: nothing found of two."""
    cats, dogs = error_costs(judged, truth, area_ap, {"missed": missed_objects(judged, truth)})
    assert cats.ap == pytest.approx(0.25)
    assert cats.costs == pytest.approx(
        {
            "classification": 0.0,  # it goes, after the only right one
            "localisation": (1 / 2 + 2 / 5) / 2 - 0.25,  # right at the fifth place
            "both": 0.0,
            "duplicate": 0.0,
            "background": 0.5 - 0.25,  # the right one comes first
            "missed": 0.0,
        }
    )
    assert dogs.ap == 0.0
    # The dog that was called a cat is the first and only detection of two dogs.
    assert dogs.costs == pytest.approx({**dict.fromkeys(ERRORS, 0.0), "classification": 0.5, "missed": 0.0})


def test_missed_objects_are_no_longer_sought():
    truth = truth_of((CAT, at(0)), (CAT, at(40)), (DOG, at(80)))
    judged = [judged_of(truth, CAT, (1.0, at(0))), judged_of(truth, DOG)]
    missed = missed_objects(judged, truth)
    assert missed.tolist() == [False, True, True]
    cats, dogs = error_costs(judged, truth, area_ap, {"here": missed, "nowhere": np.zeros(3, bool)})
    assert (cats.ap, cats.costs["here"], cats.costs["nowhere"]) == (0.5, 0.5, 0.0)
    assert (dogs.ap, dogs.costs["here"]) == (0.0, 1.0)  # nothing is left to seek


def test_of_an_object_only_the_best_is_mended():
    """Two misplaced: the better one becomes right, the other goes. Of a found object both go."""
    truth = truth_of((CAT, at(0)))
    two = [judged_of(truth, CAT, (0.9, at(0, height=4)), (0.8, at(0, height=3)))]
    assert two[0].errors.tolist() == [LOCALISATION, LOCALISATION]
    assert error_costs(two, truth, area_ap, {})[0].costs["localisation"] == 1.0
    found = [judged_of(truth, CAT, (0.9, at(0, height=4)), (0.8, at(0)))]
    (costs,) = error_costs(found, truth, area_ap, {})
    assert (costs.ap, costs.costs["localisation"]) == (0.5, 0.5)


def test_a_better_misnamed_detection_keeps_a_misplaced_one_from_being_mended():
    truth = truth_of((CAT, at(0)))
    judged = [judged_of(truth, CAT, (0.5, at(0, height=4))), judged_of(truth, DOG, (0.9, at(0)))]
    (cats, dogs) = error_costs(judged, truth, area_ap, {})
    assert cats.costs["localisation"] == 0.0
    assert cats.costs["classification"] == 1.0
    assert np.isnan(dogs.ap)
    assert set(dogs.costs.values()) == {0.0}


def test_difficult_objects_are_not_looked_at():
    truth = truth_of((CAT, at(0)), (DOG, at(20)), difficult=[True, True])
    (cats,) = [judged_of(truth, CAT, (0.9, at(0)), (0.8, at(20)), (0.7, at(0, height=4)))]
    assert cats.errors.tolist() == [NO_ERROR, BACKGROUND, BACKGROUND]
    assert not missed_objects([cats], truth).any()


def test_small_objects_of_det_are_found_at_their_own_overlap():
    """A 10 x 10 object needs 100 / 400: an overlap of 0.3 is right, one of another category misnamed."""
    objects = GroundTruth.of([0, 0], [at(0), at(20)])
    truth = SplitObjects(objects, np.array([CAT, DOG]), det_thresholds(objects.boxes))
    found = Detections.of([0, 0, 0], [at(0, height=3), at(20, height=3), at(0, height=2)], [0.9, 0.8, 0.7])
    outcomes = match_det(objects.select([True, False]), found)
    judged = judge_errors(truth, CAT, found, outcomes)
    assert judged.errors.tolist() == [NO_ERROR, CLASSIFICATION, LOCALISATION]
    assert judged.targets.tolist() == [0, 1, 0]


@settings(max_examples=40)
@given(st.data())
def test_mending_never_loses(data: st.DataObject):
    """And the plain AP is the protocol's own."""
    boxes = st.tuples(st.integers(0, 60), st.integers(1, 10), st.integers(1, 10)).map(lambda v: at(*v))
    objects = data.draw(st.lists(st.tuples(st.sampled_from([CAT, DOG]), boxes), min_size=1, max_size=6))
    truth = truth_of(*objects)
    rows = st.lists(st.tuples(st.integers(0, 5).map(float), boxes), max_size=8)
    judged = [judged_of(truth, category, *data.draw(rows)) for category in (CAT, DOG)]
    missed = {"missed": missed_objects(judged, truth)}
    for ap in (area_ap, eleven_point_ap):
        for one, costs in zip(judged, error_costs(judged, truth, ap, missed), strict=True):
            assert min(costs.costs.values()) >= 0.0
            assert ((one.errors == NO_ERROR) == (one.outcomes != 0)).all()
            if not np.isnan(costs.ap):
                assert costs.ap + max(costs.costs.values()) <= 1.0 + 1e-12
