"""Which detections are right, in which way others are wrong, what is missed; and that pictures show it."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jobs.report.plots.pictures import HEIGHT, MISSED, RIGHT, WRONG, draw_failure, draw_picture
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


def pixels(uri: str) -> np.ndarray:
    kind, data = uri.split(",", 1)
    assert kind == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)


def near(image: np.ndarray, colour: str) -> np.ndarray:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return np.abs(image - wanted).max(axis=2) < 40


def test_a_picture_has_each_colour_where_its_box_is():
    image = np.full((120, 160, 3), 128, np.uint8)
    detections = [Detection("cat", 0.9, CAT.box), Detection("cat", 0.6, (110, 70, 150, 110))]
    picture = draw_picture("k", image, match_image(detections, [CAT, DOG]))
    assert (picture.width, picture.height) == (480, HEIGHT)
    assert (picture.right, picture.wrong, picture.missed) == (1, 1, 1)
    drawn = pixels(picture.uri)
    assert drawn.shape == (360, 480, 3)
    factor = 3
    assert near(drawn, RIGHT)[60:140, 10 * factor : 10 * factor + 3].mean() > 0.9  # its left edge, unbroken
    assert near(drawn, WRONG)[240:320, 110 * factor : 110 * factor + 3].mean() > 0.9
    dashes = near(drawn, MISSED)[60:140, 60 * factor : 60 * factor + 3].mean()
    assert 0.3 < dashes < 0.8  # dashed
    assert not near(drawn, WRONG)[:150].any()


def test_a_label_stays_inside_a_picture_with_boxes_beyond_its_border():
    image = np.full((60, 60, 3), 90, np.uint8)
    detections = [Detection("a long category's name", 1.0, (-20, -20, 90, 90)), Detection("cat", 0.5, (50, 0, 60, 4))]
    picture = draw_picture("k", image, match_image(detections, []))
    assert (picture.width, picture.height) == (360, 360)
    assert near(pixels(picture.uri), WRONG)[:40, :200].mean() > 0.3


def test_a_wide_picture_is_not_wider_than_the_page():
    picture = draw_picture("k", np.zeros((100, 1000, 3), np.uint8), ImageMatch((), ()))
    assert (picture.width, picture.height) == (640, 64)


def test_a_failure_is_cut_out_with_context():
    image = np.zeros((200, 200, 3), np.uint8)
    match = match_image([Detection("cat", 2.5, DOG.box)], [DOG])
    failure = draw_failure("k", image, match.judged[0])
    assert (failure.category, failure.score, failure.kind, failure.truth, failure.overlap) == (
        "cat",
        2.5,
        "confusion",
        "dog",
        1.0,
    )
    assert (failure.width, failure.height) == (220, 220)
    drawn = near(pixels(failure.uri), WRONG)
    assert drawn[60:160, :30].sum() == 0  # context to the left
    assert drawn.any()


def test_only_false_positives_are_failures():
    match = match_image([Detection("cat", 2.5, CAT.box)], [CAT])
    with pytest.raises(ValueError, match="not a false positive"):
        draw_failure("k", np.zeros((99, 99, 3), np.uint8), match.judged[0])
