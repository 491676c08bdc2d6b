"""Comparisons of detectors: outcomes image by image, differences and their intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.artifacts.annotations import ObjectAnnotation
from pipelines.detecting.comparisons import DetectionComparison, compare_detections, judge_category
from pipelines.detecting.ground_truth import CategoryTruth
from sppnet.errors import ConfigError
from sppnet.evaluation.curves import Detections
from sppnet.evaluation.resampled import JudgedCategory

BOX = (0.0, 0.0, 20.0, 20.0)
IMAGES = 200


def truth(**images: Any) -> CategoryTruth:
    made = CategoryTruth(**images)
    made.things = [ObjectAnnotation("cat", BOX, difficult=place == 2) for place in range(len(made.images))]
    return made


def test_objects_that_do_not_count_are_left_out() -> None:
    """Three objects: one found, one missed, one difficult (VOC) or in an image that doesn't judge it (DET)."""
    found = Detections.of([0, 2, 3], [BOX] * 3, [0.9, 0.8, 0.7])
    voc = judge_category(truth(images=[0, 1, 2]), found, "voc", 0.5)
    assert (voc.images.tolist(), voc.right.tolist(), voc.objects.tolist()) == ([0, 3], [1, 0], [0, 1])
    det = judge_category(truth(images=[0, 1, 2], ignored=[2]), found, "det", 0.5)
    assert (det.images.tolist(), det.right.tolist(), det.objects.tolist()) == ([0, 3], [1, 0], [0, 1])


def detector(seed: int, right: float) -> dict[str, JudgedCategory]:
    """One object and one detection an image, right with some probability."""
    hits = (np.random.default_rng(seed).random(IMAGES) < right).astype(np.int64)
    return {"cat": JudgedCategory(np.arange(IMAGES), hits, np.arange(IMAGES))}


def compared(first: dict[str, JudgedCategory], other: dict[str, JudgedCategory], **fields: Any) -> dict[str, Any]:
    config = DetectionComparison(row="a", over="b+bb", **fields)
    (found,) = compare_detections({"gain": config}, {"a": first, "b+bb": other}, IMAGES)
    return found


def test_a_difference_has_the_interval_of_its_images() -> None:
    one, two = detector(0, 0.8), detector(1, 0.5)
    found = compared(one, two)
    area = found["area_map"]
    assert {name: found[name] for name in ("name", "row", "over", "images", "draws")} == {
        "name": "gain",
        "row": "a",
        "over": "b+bb",
        "images": IMAGES,
        "draws": 1000,
    }
    assert area["low"] < area["difference"] < area["high"]
    assert area["low"] > 0  # 200 images tell 0.8 from 0.5
    assert 0.05 < area["high"] - area["low"] < 0.4
    assert found == compared(one, two)  # the same draws each time
    back = compared(two, one)["area_map"]
    assert (back["difference"], back["low"], back["high"]) == pytest.approx(
        (-area["difference"], -area["high"], -area["low"]), abs=1e-6
    )


def test_more_images_make_it_narrower() -> None:
    """An interval's width falls with the root of the images: pairs of equal images count as half."""
    one, two = detector(0, 0.8), detector(1, 0.5)
    few = {
        name: JudgedCategory(np.arange(50), row["cat"].right[:50], np.arange(50))
        for name, row in (("a", one), ("b", two))
    }
    config = {"gain": DetectionComparison(row="a", over="b")}
    (small,) = compare_detections(config, {name: {"cat": row} for name, row in few.items()}, 50)
    wide, narrow = small["area_map"], compared(one, two)["area_map"]
    assert 1.4 < (wide["high"] - wide["low"]) / (narrow["high"] - narrow["low"]) < 2.8


def test_without_objects_there_is_no_difference() -> None:
    empty = {"cat": JudgedCategory(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))}
    assert compared(empty, empty)["voc07_map"] == {"difference": None, "low": None, "high": None}


def test_rows_of_other_categories_do_not_compare() -> None:
    with pytest.raises(ConfigError, match=r"^comparisons.gain: only one of the rows has cat, dog$"):
        compared(detector(0, 0.5), {"dog": detector(0, 0.5)["cat"]})


@pytest.mark.parametrize("fields", [{"row": "a", "over": "a"}, {"row": "a", "over": "b", "draws": 10}])
def test_what_is_no_comparison_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"compared with itself|greater than or equal to 100"):
        DetectionComparison(**fields)
