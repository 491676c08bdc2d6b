"""ILSVRC DET's protocol against the exact vectors, the devkit's demo and its loop."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sppnet.boxes import iou_matrix
from sppnet.evaluation.curves import Detections, GroundTruth
from sppnet.evaluation.det import det_thresholds, evaluate_det, match_det
from tests.support.judging import judged, some_detections, some_objects, vector
from tests.support.oracles import read_oracle


def test_every_vector() -> None:
    rows = read_oracle("average_precision")
    assert len(rows) == 25
    for row in rows:
        assert evaluate_det(*vector(row)).area_ap == pytest.approx(row["ilsvrc_det_ap"], abs=1e-14)


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
    whole = GroundTruth.of(images, boxes)
    objects = [whole.select(np.array(labels) == label) for label in range(200)]
    every = Detections.of(table[:, 0].astype(int), table[:, 3:] - [1, 1, 0, 0], table[:, 2])
    found = [every.select(table[:, 1].astype(int) - 1 == label) for label in range(200)]
    blacklist: dict[int, list[int]] = defaultdict(list)
    for line in (folder / "det_validation_blacklist.txt").read_text().splitlines():
        image, wnid = line.split()
        if wnid in wnids:
            blacklist[wnids[wnid]].append(int(image))
    for key, listed in (("with_blacklist", blacklist), ("without_blacklist", {})):
        got = [evaluate_det(o, d, listed.get(i, ())) for i, (o, d) in enumerate(zip(objects, found, strict=True))]
        values = [r.area_ap for r in got]
        assert np.mean(values) == pytest.approx(expected[key]["mean"], abs=1e-8)
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


@given(some_objects, some_detections, st.sets(st.integers(0, 3)))
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
    truth, detections = judged(rows, found)
    assert match_det(truth, detections, blacklist).tolist() == expected
    assert evaluate_det(truth, detections, blacklist).positives == sum(r[0] not in blacklist for r in rows)


def test_det_thresholds_of_small_and_large_objects() -> None:
    got = det_thresholds([[0, 0, 10, 10], [0, 0, 20, 30], [0, 0, 25, 25], [0, 0, 300, 200]])
    assert got.tolist() == [0.25, 0.5, 0.5, 0.5]
    assert det_thresholds([[0, 0, 20, 20]])[0] == 400 / 900
