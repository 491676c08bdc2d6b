"""VOC's protocol against the exact vectors, the devkit's own numbers and its loop."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from sppnet.boxes import iou_matrix
from sppnet.errors import DataError
from sppnet.evaluation.curves import Detections, GroundTruth
from sppnet.evaluation.voc import evaluate_voc, match_voc
from tests.support.judging import judged, some_detections, some_objects, vector
from tests.support.oracles import read_oracle


def test_every_vector() -> None:
    rows = read_oracle("average_precision")
    assert len(rows) == 25
    for row in rows:
        result = evaluate_voc(*vector(row))
        assert result.voc07_ap == pytest.approx(row["voc07_ap"], abs=1e-14)
        assert result.area_ap == pytest.approx(row["area_ap"], abs=1e-14)


def read_voc_fixture(folder: Path) -> dict[str, tuple[GroundTruth, Detections]]:
    objects: dict[str, list[tuple[str, list[float], bool]]] = defaultdict(list)
    for path in sorted((folder / "Annotations").glob("*.xml")):
        # A regular expression will do for these files; the pipeline has a real parser.
        for text in re.findall(r"<object>.*?</object>", path.read_text(), flags=re.DOTALL):
            body = re.sub(r"<part>.*?</part>", "", text, flags=re.DOTALL)
            x0, y0, x1, y1 = (
                float(re.search(rf"<{side}>(.*?)</", body)[1])  # type: ignore[index]
                for side in ("xmin", "ymin", "xmax", "ymax")
            )
            name = re.search(r"<name>(.*?)</", body)[1]  # type: ignore[index]
            difficult = "<difficult>1" in body
            objects[name].append((path.stem, [x0 - 1, y0 - 1, x1, y1], difficult))
    categories = {}
    for name, rows in objects.items():
        results = folder / "results" / f"comp3_det_test_{name}.txt"
        lines = [line.split() for line in results.read_text().splitlines()] if results.exists() else []
        boxes = np.array([[float(v) for v in line[2:]] for line in lines]).reshape(-1, 4) - [1, 1, 0, 0]
        categories[name] = (
            GroundTruth.of([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows]),
            Detections.of([line[0] for line in lines], boxes, [float(line[1]) for line in lines]),
        )
    return categories


def test_voc_devkits_own_numbers(shared: Path) -> None:
    folder = shared / "data" / "fixtures" / "voc100"
    expected = json.loads((folder / "expected.json").read_text())
    results = {name: evaluate_voc(*data) for name, data in read_voc_fixture(folder).items()}
    for name, numbers in expected["classes"].items():
        assert results[name].area_ap == pytest.approx(numbers["ap"], abs=1e-8), name
        assert results[name].voc07_ap == pytest.approx(numbers["ap_11point"], abs=1e-8), name
    known = [results[name] for name in expected["classes"]]
    assert np.mean([one.area_ap for one in known]) == pytest.approx(expected["mean_ap"], abs=1e-8)
    assert np.mean([one.voc07_ap for one in known]) == pytest.approx(expected["mean_ap_11point"], abs=1e-8)


@pytest.mark.parametrize("iou", ["0.1", "0.3", "0.5", "0.75"])
def test_toy_fixture_at_four_thresholds(shared: Path, iou: str) -> None:
    folder = shared / "data" / "fixtures" / "toy"
    expected = json.loads((folder / "expected.json").read_text())
    rows: dict[str, list[tuple[str, list[float], float]]] = {"gts": [], "dets": []}
    for kind, parsed in rows.items():
        for path in sorted((folder / kind).glob("*.txt")):
            for line in path.read_text().splitlines():
                *score, x, y, w, h = (float(v) for v in line.split()[1:])
                # The toy's overlap counts pixels inclusively, from x to x + w.
                parsed.append((path.stem, [x, y, x + w + 1, y + h + 1], score[0] if score else 0.0))
    truth = GroundTruth.of([r[0] for r in rows["gts"]], [r[1] for r in rows["gts"]])
    found = Detections.of(*(list(column) for column in zip(*rows["dets"], strict=True)))
    result = evaluate_voc(truth, found, float(iou))
    # At 0.1 the source compared recall 9/15 with a 0.6 that floats had made larger, and so lost that point.
    lost = 9 / 23 / 11 if iou == "0.1" else 0.0
    assert result.voc07_ap == pytest.approx(expected["ap_11point"][iou] + lost, abs=1e-9)
    assert result.area_ap == pytest.approx(expected["ap"][iou], abs=1e-9)


@given(some_objects, some_detections)
def test_voc_matching_is_the_devkits_loop(rows: list[Any], found: list[Any]) -> None:
    expected = [0] * len(found)
    taken: set[int] = set()
    for d in sorted(range(len(found)), key=lambda d: (-found[d][2], d)):
        best, best_iou = -1, -math.inf
        for o, (image, corners, _) in enumerate(rows):
            overlap = float(iou_matrix([found[d][1]], [corners])[0, 0])
            if image == found[d][0] and overlap > best_iou:
                best, best_iou = o, overlap
        if best_iou < 0.5:
            continue
        if rows[best][2]:
            expected[d] = -1
        elif best not in taken:
            taken.add(best)
            expected[d] = 1
    truth, detections = judged(rows, found)
    assert match_voc(truth, detections).tolist() == expected
    result = evaluate_voc(truth, detections)
    assert result.true_positives == expected.count(1)
    assert result.detections == len(found) - expected.count(-1)
    assert result.positives == sum(not r[2] for r in rows)
    assert len(result.recall) == len(result.precision) == len(result.scores) == result.detections


def test_a_category_without_objects_has_no_average_precision() -> None:
    truth = GroundTruth.of([], [])
    result = evaluate_voc(truth, Detections.of(["a", "b"], [[0, 0, 1, 1]] * 2, [1.0, 2.0]))
    assert math.isnan(result.area_ap)
    assert math.isnan(result.voc07_ap)
    assert (result.positives, result.detections, result.true_positives) == (0, 2, 0)
    good = evaluate_voc(GroundTruth.of(["a"], [[0, 0, 9, 9]]), Detections.of(["a"], [[0, 0, 9, 8]], [1.0]))
    assert (good.area_ap, good.voc07_ap) == (1.0, 1.0)


def test_recall_and_precision_by_falling_score() -> None:
    truth = GroundTruth.of([1, 1, 2], [[0, 0, 10, 10], [50, 50, 60, 60], [0, 0, 10, 10]])
    found = Detections.of(
        [2, 1, 1, 1], [[0, 0, 10, 9], [0, 0, 10, 10], [1, 0, 10, 10], [50, 50, 60, 60]], [0.1, 0.9, 0.8, 0.5]
    )
    result = evaluate_voc(truth, found)
    assert result.scores.tolist() == [0.9, 0.8, 0.5, 0.1]
    assert result.recall.tolist() == [1 / 3, 1 / 3, 2 / 3, 1.0]
    assert result.precision.tolist() == [1.0, 0.5, 2 / 3, 0.75]
    assert result.area_ap == pytest.approx((1 + 0.75 + 0.75) / 3)


def test_images_by_number_and_by_name_do_not_mix() -> None:
    with pytest.raises(DataError, match="bad-keys"):
        evaluate_voc(GroundTruth.of(["a"], [[0, 0, 1, 1]]), Detections.of([1], [[0, 0, 1, 1]], [1.0]))
