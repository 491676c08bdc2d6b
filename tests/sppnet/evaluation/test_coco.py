"""COCO's protocol against pycocotools' twelve figures, and its rules one by one."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sppnet.errors import DataError
from sppnet.evaluation.coco import FIGURES, CocoObjects, evaluate_coco, mean_figures
from sppnet.evaluation.curves import Detections, GroundTruth


def grouped(entries: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        found[entry["category_id"]].append(entry)
    return found


def boxes(entries: list[dict[str, Any]]) -> np.ndarray:
    array = np.array([entry["bbox"] for entry in entries], dtype=np.float64).reshape(-1, 4)
    return np.concatenate([array[:, :2], array[:, :2] + array[:, 2:]], axis=1)


def ours(objects: list[dict[str, Any]], found: list[dict[str, Any]]) -> dict[str, float]:
    """Our figures of COCO's own rows."""
    detected = grouped(found)
    results = []
    for category, entries in grouped(objects).items():
        ignored = [entry.get("ignore", 0) for entry in entries]
        truth = CocoObjects.of(
            GroundTruth.of([entry["image_id"] for entry in entries], boxes(entries), ignored),
            [entry["area"] for entry in entries],
            [entry["iscrowd"] for entry in entries],
        )
        own = detected[category]
        rows = Detections.of(
            np.array([entry["image_id"] for entry in own], np.int64), boxes(own), [entry["score"] for entry in own]
        )
        results.append(evaluate_coco(truth, rows))
    return mean_figures(results)


class Judge(COCOeval):
    """pycocotools' own, which forgets the flag `ignore` that its matching knows."""

    def _prepare(self) -> None:
        flags = {entry["id"]: entry.get("ignore", 0) for entry in self.cocoGt.dataset["annotations"]}
        super()._prepare()
        for entries in self._gts.values():
            for entry in entries:
                entry["ignore"] = entry["ignore"] or flags[entry["id"]]


def theirs(objects: list[dict[str, Any]], found: list[dict[str, Any]], images: int) -> list[float]:
    """pycocotools' twelve figures; -1 where there are no objects."""
    truth = COCO()
    truth.dataset = {
        "images": [{"id": number} for number in range(images)],
        "categories": [{"id": number, "name": str(number)} for number in sorted(grouped(objects))],
        "annotations": [{**entry, "id": number} for number, entry in enumerate(objects, start=1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        judge = Judge(truth, truth.loadRes(found), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return [float(value) for value in judge.stats]


IMAGES = 3
side = st.integers(1, 120)
place = st.integers(0, 60)
rectangle = st.tuples(place, place, side, side).map(list)
rows = {"image_id": st.integers(0, IMAGES - 1), "category_id": st.integers(1, 2), "bbox": rectangle}
annotation = st.fixed_dictionaries({**rows, "area": st.integers(1, 15_000), "iscrowd": st.sampled_from([0, 0, 0, 1])})
ignorable = st.tuples(annotation, st.sampled_from([0, 0, 1])).map(lambda pair: {**pair[0], "ignore": pair[1]})
# Few scores, so that many are equal.
detection = st.fixed_dictionaries({**rows, "score": st.integers(0, 7).map(lambda eighths: eighths / 8)})
CROWD = {"image_id": 0, "category_id": 1, "bbox": [0, 0, 57, 31], "area": 1767, "iscrowd": 1}
HALF_INSIDE = {"image_id": 0, "category_id": 1, "bbox": [28, 0, 58, 31], "score": 0.5}


@settings(max_examples=150)
@given(st.lists(ignorable, min_size=1, max_size=16), st.lists(detection, min_size=1, max_size=24))
@example(
    [CROWD, {**CROWD, "bbox": [200, 0, 9, 9], "iscrowd": 0}],
    [HALF_INSIDE, {**HALF_INSIDE, "bbox": [200, 0, 9, 9], "score": 0.25}],
)
def test_random_detections_get_pycocotools_figures(objects: list[dict[str, Any]], found: list[dict[str, Any]]) -> None:
    expected = theirs(objects, found, IMAGES)
    figures = ours(objects, found)
    for (name, value), wanted in zip(figures.items(), expected, strict=True):
        assert (-1.0 if math.isnan(value) else value) == pytest.approx(wanted, abs=1e-12), name


def test_only_the_best_hundred_of_an_image_are_looked_at() -> None:
    rng = np.random.default_rng(0)
    where = {"image_id": 0, "category_id": 1}
    objects = [{**where, "bbox": [12 * n, 0, 10, 10], "area": 100, "iscrowd": 0} for n in range(120)]
    found = [{**where, "bbox": [12 * n, 0, 10, 10], "score": float(rng.random())} for n in range(120)]
    figures = ours(objects, found)
    assert list(figures.values()) == pytest.approx(
        [x if x >= 0 else math.nan for x in theirs(objects, found, 1)], nan_ok=True
    )
    assert figures["AR100"] == pytest.approx(100 / 120)


def test_pycocotools_own_numbers(shared: Path) -> None:
    folder = shared / "data" / "fixtures" / "coco100"
    expected = json.loads((folder / "expected.json").read_text())
    body = json.loads((folder / "gts.json").read_text())
    figures = ours(body["annotations"], json.loads((folder / "dets.json").read_text()))
    assert list(figures) == list(FIGURES) == [name for name in expected if name != "what"]
    for name, value in figures.items():
        assert value == pytest.approx(expected[name], abs=1e-6), name


SQUARE = [0.0, 0.0, 100.0, 100.0]


def one(found: list[tuple[list[float], float]], **fields: Any) -> dict[str, float]:
    """One image with one large object, and perhaps a second."""
    rows = fields.pop("rows", [SQUARE])
    truth = CocoObjects.of(GroundTruth.of([1] * len(rows), rows), **fields)
    detected = Detections.of(np.ones(len(found), int), [b for b, _ in found], [s for _, s in found])
    return dict(evaluate_coco(truth, detected).figures)


def test_a_perfect_and_a_missing_detection() -> None:
    figures = one([(SQUARE, 1.0)])
    assert {figures[name] for name in ("AP", "AP50", "AP75", "APlarge", "AR1", "AR100", "ARlarge")} == {1.0}
    assert all(math.isnan(figures[name]) for name in ("APsmall", "APmedium", "ARsmall", "ARmedium"))
    assert one([])["AP"] == one([])["AR100"] == 0.0
    assert all(math.isnan(value) for value in one([(SQUARE, 1.0)], rows=[]).values())
    assert all(math.isnan(value) for value in mean_figures([]).values())


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
