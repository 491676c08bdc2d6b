"""Average precision against exact vectors, the VOC devkit's own numbers, and the DET devkit's demo."""

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
from hypothesis import strategies as st

from sppnet.boxes import iou_matrix
from sppnet.errors import DataError
from sppnet.evaluation.curves import Detections, GroundTruth, mean_ap, rows_by_label
from sppnet.evaluation.det import det_thresholds, evaluate_det, match_det
from sppnet.evaluation.voc import evaluate_voc, match_voc
from tests.support.oracles import read_oracle


def category(row: dict[str, Any]) -> tuple[GroundTruth, Detections]:
    objects = [(image, o) for image, found in row["ground_truth"].items() for o in found]
    truth = GroundTruth.of(
        [image for image, _ in objects], [o["box"] for _, o in objects], [o["difficult"] for _, o in objects]
    )
    found = row["detections"]
    return truth, Detections.of([d["image"] for d in found], [d["box"] for d in found], [d["score"] for d in found])


def test_every_vector() -> None:
    rows = read_oracle("average_precision")
    assert len(rows) == 25
    for row in rows:
        truth, found = category(row)
        voc = evaluate_voc(truth, found)
        assert voc.voc07_ap == pytest.approx(row["voc07_ap"], abs=1e-14)
        assert voc.area_ap == pytest.approx(row["area_ap"], abs=1e-14)
        assert evaluate_det(truth, found).area_ap == pytest.approx(row["ilsvrc_det_ap"], abs=1e-14)


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
    assert mean_ap(known) == pytest.approx(expected["mean_ap"], abs=1e-8)
    assert mean_ap(known, "voc07") == pytest.approx(expected["mean_ap_11point"], abs=1e-8)


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


def test_det_devkits_demo_over_all_20121_images(shared: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    folder = shared / "data" / "ilsvrc_det"
    truth = scipy_io.loadmat(folder / "det_validation_ground_truth.mat")
    expected = json.loads((folder / "eval" / "expected.json").read_text())
    categories = [line.split(" ", 2) for line in (folder / "map_det.txt").read_text().splitlines() if line]
    assert [int(number) for _, number, _ in categories] == list(range(1, 201))
    wnids = {wnid: i for i, (wnid, _, _) in enumerate(categories)}
    images, boxes, labels = read_det_truth(truth)
    table = np.loadtxt(folder / "eval" / "demo.val.pred.det.txt")
    objects = GroundTruth.of(images, boxes).split(labels, 200)
    found = Detections.of(table[:, 0].astype(int), table[:, 3:] - [1, 1, 0, 0], table[:, 2]).split(
        table[:, 1].astype(int) - 1, 200
    )
    blacklist: dict[int, list[int]] = defaultdict(list)
    for line in (folder / "det_validation_blacklist.txt").read_text().splitlines():
        image, wnid = line.split()
        if wnid in wnids:
            blacklist[wnids[wnid]].append(int(image))
    for key, listed in (("with_blacklist", blacklist), ("without_blacklist", {})):
        got = [evaluate_det(o, d, listed.get(i, ())) for i, (o, d) in enumerate(zip(objects, found, strict=True))]
        values = [r.area_ap for r in got]
        assert mean_ap(got) == pytest.approx(expected[key]["mean"], abs=1e-8)
        assert float(np.median(values)) == pytest.approx(expected[key]["median"], abs=1e-8)
        if "ap" in expected[key]:
            by_name = dict(zip((name.replace("_", " ") for _, _, name in categories), values, strict=True))
            assert by_name == pytest.approx(expected[key]["ap"], abs=1e-8)


def read_det_truth(truth: dict[str, Any]) -> tuple[list[int], list[Any], list[int]]:
    images, boxes, labels = [], [], []
    columns = (truth["gt_img_ids"], truth["gt_obj_labels"], truth["gt_obj_bboxes"])
    for image, objects, rectangles in zip(*(np.asarray(c).reshape(-1) for c in columns), strict=True):
        found = np.asarray(objects).reshape(-1)
        corners = np.asarray(rectangles, dtype=np.float64).reshape(4, -1).T  # 1-based and inclusive
        for label, corner in zip(found, corners, strict=True):
            images.append(int(image))
            labels.append(int(label) - 1)
            boxes.append(corner - [1, 1, 0, 0])
    return images, boxes, labels


corner = st.integers(0, 12)
box = st.tuples(corner, corner, st.integers(1, 20), st.integers(1, 20)).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)
objects = st.lists(st.tuples(st.integers(0, 2), box, st.booleans()), max_size=8)
found_boxes = st.lists(st.tuples(st.integers(0, 3), box, st.integers(0, 4)), max_size=12)


def build(rows: list[Any], found: list[Any]) -> tuple[GroundTruth, Detections]:
    truth = GroundTruth.of(np.array([r[0] for r in rows], int), [r[1] for r in rows], [r[2] for r in rows])
    return truth, Detections.of(np.array([r[0] for r in found], int), [r[1] for r in found], [r[2] for r in found])


@given(objects, found_boxes)
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
    truth, detections = build(rows, found)
    assert match_voc(truth, detections).tolist() == expected
    result = evaluate_voc(truth, detections)
    assert result.true_positives == expected.count(1)
    assert result.detections == len(found) - expected.count(-1)
    assert result.positives == sum(not r[2] for r in rows)
    assert len(result.recall) == len(result.precision) == len(result.scores) == result.detections


@given(objects, found_boxes, st.sets(st.integers(0, 3)))
def test_det_matching_is_the_devkits_loop(rows: list[Any], found: list[Any], blacklist: set[int]) -> None:
    expected = [-1 if f[0] in blacklist else 0 for f in found]
    thresholds = det_thresholds([r[1] for r in rows])
    taken: set[int] = set()
    for d in sorted(range(len(found)), key=lambda d: (-found[d][2], d)):
        best, best_iou = -1, -math.inf
        for o, (image, corners, _) in enumerate(rows):
            overlap = float(iou_matrix([found[d][1]], [corners])[0, 0])
            free = image == found[d][0] and o not in taken and image not in blacklist
            if free and overlap >= thresholds[o] and overlap > best_iou:
                best, best_iou = o, overlap
        if best >= 0:
            taken.add(best)
            expected[d] = 1
    truth, detections = build(rows, found)
    assert match_det(truth, detections, blacklist).tolist() == expected
    assert evaluate_det(truth, detections, blacklist).positives == sum(r[0] not in blacklist for r in rows)


def test_det_thresholds_of_small_and_large_objects() -> None:
    got = det_thresholds([[0, 0, 10, 10], [0, 0, 20, 30], [0, 0, 25, 25], [0, 0, 300, 200]])
    assert got.tolist() == [0.25, 0.5, 0.5, 0.5]
    assert det_thresholds([[0, 0, 20, 20]])[0] == 400 / 900


def test_a_category_without_objects_has_no_average_precision() -> None:
    truth = GroundTruth.of([], [])
    result = evaluate_voc(truth, Detections.of(["a", "b"], [[0, 0, 1, 1]] * 2, [1.0, 2.0]))
    assert math.isnan(result.area_ap)
    assert math.isnan(result.voc07_ap)
    assert (result.positives, result.detections, result.true_positives) == (0, 2, 0)
    good = evaluate_voc(GroundTruth.of(["a"], [[0, 0, 9, 9]]), Detections.of(["a"], [[0, 0, 9, 8]], [1.0]))
    assert (good.area_ap, good.voc07_ap) == (1.0, 1.0)
    assert mean_ap({"none": result, "good": good}) == 1.0
    assert math.isnan(mean_ap([result]))


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


def test_bad_input_says_what_is_wrong() -> None:
    with pytest.raises(DataError, match="2 boxes but 1 images"):
        GroundTruth.of(["a"], [[0, 0, 1, 1]] * 2)
    with pytest.raises(DataError, match="nan-scores"):
        Detections.of(["a"], [[0, 0, 1, 1]], [float("nan")])
    with pytest.raises(DataError, match="bad-keys"):
        evaluate_voc(GroundTruth.of(["a"], [[0, 0, 1, 1]]), Detections.of([1], [[0, 0, 1, 1]], [1.0]))
    with pytest.raises(DataError, match="bad-labels"):
        rows_by_label([0, 3], 3)
    assert [rows.tolist() for rows in rows_by_label([1, 0, 1], 3)] == [[1], [0, 2], []]
