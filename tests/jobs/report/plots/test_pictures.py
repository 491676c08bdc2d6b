"""Photographs, failures and receptive fields drawn on photographs, each colour where it belongs."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
from PIL import Image

from jobs.report.plots.pictures import FIELD, MISSED, WRONG, draw_failure, draw_field, plain_picture
from jobs.report.read.failures import FalsePositive


def pixels(uri: str) -> np.ndarray:
    kind, data = uri.split(",", 1)
    assert kind == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)


def near(image: np.ndarray, colour: str) -> np.ndarray:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return np.abs(image - wanted).max(axis=2) < 40


def test_a_photograph_is_as_high_as_its_row_and_not_too_wide():
    uri, size, factor = plain_picture(np.full((120, 160, 3), 128, np.uint8), 60)
    assert (size, factor) == ((80, 60), 0.5)
    assert np.abs(pixels(uri) - 128).max() < 4
    _, size, factor = plain_picture(np.zeros((100, 1000, 3), np.uint8), 90)
    assert (size, factor) == ((160, 16), 0.16)


def test_a_failure_is_cut_out_with_context():
    image = np.zeros((200, 200, 3), np.uint8)
    dog = (60.0, 10.0, 100.0, 50.0)
    found = FalsePositive(0, "cat", 2.5, dog, "classification", "dog", (70.0, 20.0, 110.0, 60.0), 0.4)
    failure = draw_failure("k", image, found)
    shown = (failure.category, failure.score, failure.kind, failure.truth, failure.overlap)
    assert shown == ("cat", 2.5, "classification", "dog", 0.4)
    assert (failure.width, failure.height) == (220, 220)
    drawn = near(pixels(failure.uri), WRONG)
    assert drawn[60:160, :30].sum() == 0  # context to the left
    assert drawn[60:160, 36:40].mean() > 0.5  # the left edge
    assert near(pixels(failure.uri), MISSED).any()
    nothing = draw_failure("k", image, replace(found, kind="background", truth=None, truth_box=None))
    assert not near(pixels(nothing.uri), MISSED).any()


def test_a_receptive_field_is_framed_and_the_rest_is_darker():
    image = np.full((300, 400, 3), 200, np.uint8)
    picture = draw_field("k", image, (-40.0, 100.0, 200.0, 260.0), 3.25)
    assert (picture.width, picture.height, picture.value) == (200, 150, 3.25)
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1])))).astype(int)
    assert np.abs(drawn[90, 50] - 200).max() < 12  # inside
    assert np.abs(drawn[90, 150] - 140).max() < 12  # outside
    yellow = np.array([int(FIELD[i : i + 2], 16) for i in (1, 3, 5)])
    assert np.abs(drawn[50:131, 98] - yellow).mean() < 30  # the right edge; the left one is at the image's rim
