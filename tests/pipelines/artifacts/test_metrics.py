from __future__ import annotations

import numpy as np
import pytest

from pipelines.artifacts.metrics import CURVE_POINTS, category_figures, coco_figures, curve_points, mean_figure
from sppnet.evaluation.curves import CategoryResult, summarise


def four_detections() -> CategoryResult:
    """Right, wrong, right, wrong, of three objects."""
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    recall, precision = np.array([1, 1, 2, 2]) / 3, np.array([1, 1 / 2, 2 / 3, 1 / 2])
    return CategoryResult(6 / 11, 0.55555555, recall, precision, scores, positives=3, detections=4, true_positives=2)


def test_the_figures_of_a_category() -> None:
    assert category_figures(four_detections(), "voc") == {
        "voc07_ap": 0.545455,
        "area_ap": 0.555556,
        "positives": 3,
        "detections": 4,
        "true_positives": 2,
        "operating_score": 0.7,  # harmonic means 1/2, 2/5, 2/3, 4/7
        "recall": [0.33333, 0.66667],  # where an object is found
        "precision": [1.0, 0.66667],
    }
    assert category_figures(four_detections(), "det")["voc07_ap"] is None
    by_coco = category_figures(four_detections(), "coco")
    assert (by_coco["voc07_ap"], by_coco["area_ap"], by_coco["true_positives"]) == (None, None, 2)
    assert coco_figures({"AP": 1 / 3, "APsmall": float("nan")}) == {"AP": 0.333333, "APsmall": None}


def test_a_category_without_objects_has_no_precision() -> None:
    figures = category_figures(summarise(np.array([0.5]), np.array([0], np.int8), 0), "voc")
    assert (figures["voc07_ap"], figures["area_ap"], figures["operating_score"]) == (None, None, None)
    assert (figures["recall"], figures["precision"]) == ([], [])


def test_the_mean_is_of_categories_that_have_the_figure() -> None:
    figures = {"car": {"ap": 0.25}, "cat": {"ap": None}, "dog": {"ap": 0.75}}
    assert mean_figure(figures, "ap") == 0.5
    assert mean_figure({"cat": {"ap": None}}, "ap") is None


@pytest.mark.parametrize("objects", [0, 1, CURVE_POINTS, 5 * CURVE_POINTS])
def test_a_curve_keeps_its_ends_and_few_points(objects: int) -> None:
    recall = np.repeat(np.arange(1, objects + 1) / max(objects, 1), 2)  # each found object, then a wrong detection
    points = curve_points(recall)
    assert len(points) == min(objects, CURVE_POINTS)
    assert all(rank % 2 == 0 for rank in points)
    if objects:
        assert (points[0], points[-1]) == (0, 2 * objects - 2)
