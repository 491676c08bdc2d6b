"""Which detections are right, in which way others are wrong, and what is missed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.report.read.matching import (
    BACKGROUND,
    CONFUSION,
    DUPLICATE,
    LOCALISATION,
    Detection,
    ImageMatch,
    Judged,
    above,
    match_image,
)
from pipelines.artifacts.annotations import ObjectAnnotation

CAT = ObjectAnnotation("cat", (10, 10, 50, 50))
DOG = ObjectAnnotation("dog", (60, 10, 100, 50))
HARD = ObjectAnnotation("cat", (10, 60, 50, 100), difficult=True)


def judged(match: ImageMatch) -> dict[float, Judged]:
    return {entry.detection.score: entry for entry in match.judged}


def test_every_fate_of_a_detection():
    detections = [
        Detection("cat", 0.9, (11, 10, 51, 50)),  # the cat
        Detection("cat", 0.8, (10, 10, 50, 48)),  # the cat again, better placed but lower scored
        Detection("cat", 0.7, (10, 10, 50, 22)),  # IoU 12 / 40 = 0.3
        Detection("cat", 0.6, (60, 10, 100, 50)),  # the dog
        Detection("cat", 0.5, (110, 110, 140, 140)),  # nothing
        Detection("cat", 0.4, (10, 60, 50, 100)),  # the difficult cat
    ]
    match = match_image(detections, [CAT, DOG, HARD])
    fates = judged(match)
    assert [entry.detection.score for entry in match.judged] == [0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert fates[0.9].right
    assert fates[0.9].error is None
    assert (fates[0.8].error, fates[0.8].nearest) == (DUPLICATE, CAT)
    assert fates[0.8].overlap == pytest.approx(0.95)
    assert (fates[0.7].error, fates[0.7].overlap) == (LOCALISATION, pytest.approx(0.3))
    assert (fates[0.6].error, fates[0.6].nearest, fates[0.6].overlap) == (CONFUSION, DOG, 1.0)
    assert (fates[0.5].error, fates[0.5].nearest) == (BACKGROUND, None)
    assert (fates[0.4].right, fates[0.4].error) == (False, None)
    assert (match.right, match.wrong) == (1, 4)
    assert match.missed == (DOG,)  # a difficult object is never missed


def test_an_object_below_the_overlap_is_missed_and_one_at_it_is_found():
    half = Detection("cat", 1.0, (10, 10, 50, 30))
    less = Detection("cat", 1.0, (10, 10, 50, 29.9))
    assert match_image([half], [CAT]).missed == ()
    assert match_image([less], [CAT]).missed == (CAT,)
    assert match_image([half], [CAT], iou=0.6).missed == (CAT,)


def test_objects_of_unsought_categories_explain_failures_but_are_not_missed():
    match = match_image([Detection("cat", 1.0, DOG.box)], [DOG], sought={"cat"})
    assert match.missed == ()
    assert match.judged[0].error == CONFUSION
    assert match.judged[0].nearest == DOG


def test_without_objects_or_detections():
    assert match_image([], []) == ImageMatch((), ())
    assert match_image([], [CAT, HARD]).missed == (CAT,)
    assert judged(match_image([Detection("cat", 0.1, (0, 0, 5, 5))], []))[0.1].error == BACKGROUND


def test_above_keeps_what_reaches_its_categorys_operating_score():
    detections = [Detection("cat", 0.5, CAT.box), Detection("cat", 0.49, CAT.box), Detection("dog", 9.0, DOG.box)]
    assert above(detections, {"cat": 0.5, "dog": None}) == detections[:1]


boxes = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 40), st.integers(1, 40)).map(
    lambda v: (float(v[0]), float(v[1]), float(v[0] + v[2]), float(v[1] + v[3]))
)
names = st.sampled_from(["cat", "dog"])


@settings(max_examples=60)
@given(
    st.lists(st.builds(Detection, names, st.floats(0, 1), boxes), max_size=12),
    st.lists(st.builds(ObjectAnnotation, names, boxes, difficult=st.booleans()), max_size=8),
)
def test_every_object_is_found_once_or_missed(detections: list[Detection], objects: list[ObjectAnnotation]):
    match = match_image(detections, objects)
    sought = sum(not entry.difficult for entry in objects)
    assert match.right + len(match.missed) == sought
    assert len(match.judged) == len(detections)
    assert all(entry.overlap >= 0.5 for entry in match.judged if entry.right or entry.error == DUPLICATE)
