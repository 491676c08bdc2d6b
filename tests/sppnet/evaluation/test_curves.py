"""What the protocols share: curves and average precisions of known outcomes, pairs of an image, checks of columns."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sppnet.boxes import iou_matrix
from sppnet.errors import DataError
from sppnet.evaluation.curves import (
    FALSE_POSITIVE,
    IGNORED,
    TRUE_POSITIVE,
    Detections,
    GroundTruth,
    area_ap,
    pair_up,
    summarise,
)


def test_summary_of_known_outcomes() -> None:
    outcomes = np.array([FALSE_POSITIVE, TRUE_POSITIVE, IGNORED, TRUE_POSITIVE], np.int8)
    result = summarise(np.array([0.5, 0.9, 0.8, 0.1]), outcomes, 4)
    assert result.scores.tolist() == [0.9, 0.5, 0.1]
    assert result.recall.tolist() == [0.25, 0.25, 0.5]
    assert result.precision.tolist() == [1.0, 0.5, 2 / 3]
    assert (result.positives, result.detections, result.true_positives) == (4, 3, 2)
    assert result.area_ap == pytest.approx((1 + 2 / 3) / 4)
    assert result.voc07_ap == pytest.approx((3 * 1 + 3 * 2 / 3) / 11)  # recalls 0, .1, .2 and .3, .4, .5


def test_area_is_under_the_curve_made_monotone() -> None:
    assert area_ap(np.array([0, 1, 2]), 2) == pytest.approx(2 / 3)  # precision 0, 1/2, 2/3 is 2/3 from the right
    assert area_ap(np.zeros(0, np.int64), 3) == 0.0
    assert math.isnan(area_ap(np.zeros(2, np.int64), 0))


def test_each_detection_meets_the_objects_of_its_image() -> None:
    truth = GroundTruth.of(["b", "a", "b"], [[0, 0, 10, 10], [0, 0, 4, 4], [5, 0, 15, 10]])
    found = Detections.of(["b", "c", "a"], [[0, 0, 10, 5], [0, 0, 9, 9], [0, 0, 4, 2]], [0.2, 0.9, 0.6])
    pairs = pair_up(truth, found)
    assert pairs.detection.tolist() == [2, 0, 0]
    assert pairs.rank.tolist() == [1, 2, 2]
    assert pairs.object.tolist() == [1, 0, 2]
    assert pairs.iou.tolist() == [iou_matrix(found.boxes, truth.boxes)[d, o] for d, o in ((2, 1), (0, 0), (0, 2))]


def test_bad_input_says_what_is_wrong() -> None:
    with pytest.raises(DataError, match="2 boxes but 1 images"):
        GroundTruth.of(["a"], [[0, 0, 1, 1]] * 2)
    with pytest.raises(DataError, match="2 boxes but 1 scores"):
        Detections.of(["a", "a"], [[0, 0, 1, 1]] * 2, [1.0])
    with pytest.raises(DataError, match="nan-scores"):
        Detections.of(["a"], [[0, 0, 1, 1]], [float("nan")])
