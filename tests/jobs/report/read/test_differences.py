"""Differences are read as evaluations write them, and are sure where 0 is in no interval."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.report.read.differences import Difference, class_differences, detection_differences

OF_CLASSES: dict[str, Any] = {
    "name": "gain",
    "row": "spp",
    "views": "full",
    "over": "none",
    "over_views": "crop",
    "images": 9,
    "difference": -0.02,
    "by_pair": [-0.01, -0.03],
    "over_pairs": [-0.15, 0.11],
    "over_images": [-0.03, -0.01],
}


def test_of_classes() -> None:
    (one,) = class_differences({"comparisons": [OF_CLASSES]})
    assert one == Difference("gain", "spp, full", "none, crop", -0.02, (-0.01, -0.03), (-0.15, 0.11), (-0.03, -0.01))
    assert not one.is_sure  # two seeds say little
    (sure,) = class_differences({"comparisons": [OF_CLASSES | {"over_pairs": [-0.03, -0.01]}]})
    assert sure.is_sure
    (single,) = class_differences({"comparisons": [OF_CLASSES | {"over_pairs": None}]})
    assert single.is_sure
    assert class_differences({}) == ()


def test_of_detectors() -> None:
    found = {"difference": 0.05, "low": 0.01, "high": 0.09}
    nothing = {"difference": None, "low": None, "high": None}
    body = {"comparisons": [{"name": "gain", "row": "a", "over": "b", "voc07_map": found, "area_map": nothing}]}
    (one,) = detection_differences(body)
    assert one == Difference("gain", "a", "b", 0.05, (), None, (0.01, 0.09))
    assert one.is_sure
    (none,) = detection_differences(body | {"protocol": "det"})
    assert (none.mean, none.over_images, none.is_sure) == (None, None, False)


@pytest.mark.parametrize("broken", [{"difference": float("nan")}, {"by_pair": ["x"]}, {"over_images": [0.1]}])
def test_what_is_no_difference_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError, IndexError)):
        class_differences({"comparisons": [OF_CLASSES | broken]})
