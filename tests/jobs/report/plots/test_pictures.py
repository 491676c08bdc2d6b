"""Detections, failures and receptive fields drawn on photographs, each colour where it belongs."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from jobs.report.plots.pictures import (
    FIELD,
    HEIGHT,
    MISSED,
    RIGHT,
    WRONG,
    draw_failure,
    draw_field,
    draw_picture,
    jpeg_uri,
)
from jobs.report.read.matching import (
    Detection,
    ImageMatch,
    match_image,
)
from pipelines.artifacts.annotations import ObjectAnnotation

CAT = ObjectAnnotation("cat", (10, 10, 50, 50))
DOG = ObjectAnnotation("dog", (60, 10, 100, 50))


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


def test_a_receptive_field_is_framed_and_the_rest_is_darker():
    image = np.full((300, 400, 3), 200, np.uint8)
    picture = draw_field("k", image, (-40.0, 100.0, 200.0, 260.0), 3.25)
    assert (picture.width, picture.height, picture.value) == (200, 150, 3.25)
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1])))).astype(int)
    assert np.abs(drawn[90, 50] - 200).max() < 12  # inside
    assert np.abs(drawn[90, 150] - 140).max() < 12  # outside
    yellow = np.array([int(FIELD[i : i + 2], 16) for i in (1, 3, 5)])
    assert np.abs(drawn[50:131, 98] - yellow).mean() < 30  # the right edge; the left one is at the image's rim


def test_pure_noise_is_drawn():
    """It takes more than a byte a pixel, which is all that Pillow has room for when it optimises."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, HEIGHT, 3)).astype(np.uint8)
    uri = jpeg_uri(Image.fromarray(noise))
    data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    assert len(data) > HEIGHT * HEIGHT
    assert Image.open(io.BytesIO(data)).size == (HEIGHT, HEIGHT)
