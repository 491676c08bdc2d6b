"""AP by size, on a case worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sppnet.evaluation.by_size import size_aps
from sppnet.evaluation.curves import Detections, GroundTruth, area_ap
from sppnet.evaluation.error_kinds import SplitObjects, judge_errors
from sppnet.evaluation.voc import match_voc

SMALL, OTHER, LARGE = [0, 0, 20, 20], [40, 0, 60, 20], [100, 100, 300, 300]


def test_objects_and_wrong_boxes_of_another_size_are_left_aside():
    """Small: a wrong one, then one of two objects. Large: found first. Medium: no object."""
    objects = GroundTruth.of([0, 0, 0], [SMALL, OTHER, LARGE])
    boxes = [[400, 0, 420, 20], LARGE, SMALL]
    found = Detections.of([0, 0, 0], boxes, [0.9, 0.8, 0.7])
    truth = SplitObjects(objects, np.zeros(3, np.int64), np.full(3, 0.5))
    judged = judge_errors(truth, 0, found, match_voc(objects, found))
    aps = size_aps(judged, truth, area_ap)
    assert aps["small"] == pytest.approx(0.25)  # half of the objects, at precision 1/2
    assert aps["large"] == 1.0
    assert np.isnan(aps["medium"])
