"""COCO's protocol against pycocotools' twelve figures, and its rules one by one."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sppnet.errors import DataError
from sppnet.evaluation.coco import CocoObjects, evaluate_coco
from sppnet.evaluation.curves import Detections, GroundTruth


def grouped(entries: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        found[entry["category_id"]].append(entry)
    return found


def boxes(entries: list[dict[str, Any]]) -> np.ndarray:
    array = np.array([entry["bbox"] for entry in entries], dtype=np.float64).reshape(-1, 4)
    return np.concatenate([array[:, :2], array[:, :2] + array[:, 2:]], axis=1)


def test_pycocotools_own_numbers(shared: Path) -> None:
    folder = shared / "data" / "fixtures" / "coco100"
    expected = json.loads((folder / "expected.json").read_text())
    body = json.loads((folder / "gts.json").read_text())
    truth = {
        str(category): CocoObjects.of(
            GroundTruth.of([entry["image_id"] for entry in entries], boxes(entries)),
            [entry["area"] for entry in entries],
            [entry["iscrowd"] for entry in entries],
        )
        for category, entries in grouped(body["annotations"]).items()
    }
    found = {
        str(category): Detections.of(
            [entry["image_id"] for entry in entries], boxes(entries), [entry["score"] for entry in entries]
        )
        for category, entries in grouped(json.loads((folder / "dets.json").read_text())).items()
    }
    figures = evaluate_coco(truth, found)
    assert list(figures) == [name for name in expected if name != "what"]
    for name, value in figures.items():
        assert value == pytest.approx(expected[name], abs=1e-6), name


SQUARE = [0.0, 0.0, 100.0, 100.0]


def one(found: list[tuple[list[float], float]], **fields: Any) -> dict[str, float]:
    """One image with one large object, and perhaps a second."""
    rows = fields.pop("rows", [SQUARE])
    truth = {"a": CocoObjects.of(GroundTruth.of([1] * len(rows), rows), **fields)}
    return evaluate_coco(truth, {"a": Detections.of([1] * len(found), [b for b, _ in found], [s for _, s in found])})


def test_a_perfect_and_a_missing_detection() -> None:
    figures = one([(SQUARE, 1.0)])
    assert {figures[name] for name in ("AP", "AP50", "AP75", "APlarge", "AR1", "AR100", "ARlarge")} == {1.0}
    assert all(math.isnan(figures[name]) for name in ("APsmall", "APmedium", "ARsmall", "ARmedium"))
    assert one([])["AP"] == one([])["AR100"] == 0.0
    assert all(math.isnan(value) for value in evaluate_coco({}, {}).values())


def test_overlap_decides_at_how_many_thresholds() -> None:
    figures = one([([0.0, 0.0, 100.0, 77.0], 1.0)])  # IoU 0.77: right at 0.5 to 0.75
    assert (figures["AP50"], figures["AP75"], figures["AP"], figures["AR100"]) == (1.0, 1.0, 0.6, 0.6)


def test_a_crowd_makes_nothing_wrong() -> None:
    inside = [([0.0, 0.0, 50.0, 50.0], 0.9), ([50.0, 50.0, 100.0, 100.0], 0.8)]
    far = [300.0, 300.0, 400.0, 400.0]
    rows = [SQUARE, far]
    figures = one([*inside, (far, 0.5)], rows=rows, crowd=[True, False])
    assert figures["AP"] == pytest.approx(1.0)
    assert one([*inside, (far, 0.5)], rows=rows)["AP"] < 0.5


def test_detections_of_another_size_are_not_judged_by_size() -> None:
    small = [500.0, 500.0, 510.0, 510.0]
    figures = one([(SQUARE, 0.5), (small, 0.9)])
    assert figures["APlarge"] == 1.0
    assert figures["AP"] == pytest.approx(0.5)


def test_columns_must_fit() -> None:
    with pytest.raises(DataError, match="1 objects, 2 areas, 1 crowd flags"):
        CocoObjects.of(GroundTruth.of([1], [SQUARE]), areas=[1.0, 2.0])
