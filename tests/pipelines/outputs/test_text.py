"""VOC's and DET's text files: as their programs expect them, and nothing lost on the way back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from pipelines.artifacts.detections import DetectionTable
from pipelines.datasets.keys import safe_key
from pipelines.outputs.ids import Numbers
from pipelines.outputs.text import check_voc_names, write_det, write_voc
from sppnet.errors import ConfigError
from sppnet.evaluation.curves import Detections, GroundTruth
from sppnet.evaluation.det import evaluate_det
from tests.support.output_readers import read_det, read_voc
from tests.support.written_detections import NUMBERS, close, halves


def test_voc_files(table: DetectionTable, tmp_path: Path) -> None:
    paths = write_voc(halves(table), ("car", "dog", "cat"), "test", tmp_path)
    assert [path.name for path in paths] == [f"comp4_det_test_{name}.txt" for name in ("car", "dog", "cat")]
    assert paths[0].read_text() == "a/1 0.5 1 1 10 20\nb -1.25 4.299999952 5.699999809 100.1233978 50\n"
    assert paths[2].read_text() == ""
    for name, path in zip(("car", "dog"), paths, strict=False):
        number = table.categories.index(name)
        close(read_voc(path.read_bytes(), name), table.select(table.category == number))
    assert len(read_voc(b"", "cat")) == 0


def test_a_category_that_can_not_name_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be part of a file's name"):
        write_voc([], ("a/b",), "val", tmp_path)
    check_voc_names(("c" * 230,), "val")
    with pytest.raises(ConfigError, match=r"category 'cccc+'\.\.\. is too long for a file's name"):
        check_voc_names(("c" * 250,), "val")


def test_rows_of_any_name_are_read_back(table: DetectionTable, tmp_path: Path) -> None:
    """One row, six columns, whatever the image is called; decoded like a URL it is the file's path."""
    names = ("img (1)", "day.2/a b%c é\t", "plain")
    odd = replace(table, keys=tuple(map(safe_key, names)), image=np.arange(len(table.image), dtype=np.int32) % 3)
    paths = write_voc([odd], table.categories, "val", tmp_path)
    rows = [line.split(" ") for path in paths for line in path.read_text().splitlines()]
    assert {len(row) for row in rows} == {6}
    assert {unquote(row[0]) for row in rows} == set(names)
    assert {row[0] for row in rows} == {"img%20(1)", "day.2/a%20b%25c%20é%09", "plain"}


def test_det_submission(table: DetectionTable, tmp_path: Path) -> None:
    (path,) = write_det(halves(table), NUMBERS, "val", tmp_path)
    lines = path.read_text().splitlines()
    assert lines[0] == "7 37 0.5 1 1 10 20"
    assert lines[2].startswith("20121 200 0.333333343 1235.567")
    close(read_det(path.read_bytes(), NUMBERS), table)
    with pytest.raises(ConfigError, match="category 'dog' has no number"):
        write_det([table], Numbers(NUMBERS.images, {"car": 1}), "val", tmp_path)


def test_dets_demo_submission_through_the_reader(shared: Path) -> None:
    """The devkit's demo file, read as a submission, gives the official mean average precision over 200 categories."""
    scipy_io = pytest.importorskip("scipy.io")
    folder = shared / "data" / "ilsvrc_det"
    wnids = [line.split()[0] for line in (folder / "map_det.txt").read_text().splitlines()]
    listed = Numbers.parse((folder / "det_lists" / "val.txt").read_bytes(), "val.txt")
    numbers = Numbers(listed.images, {wnid: number for number, wnid in enumerate(wnids, 1)})
    data = (folder / "eval" / "demo.val.pred.det.txt").read_bytes()
    table = read_det(data, numbers)
    assert len(table) == len(data.splitlines())
    every = Detections.of(table.image.astype(np.int64), table.boxes, table.scores)
    found = [every.select(table.category == number) for number in range(200)]
    place = {numbers.images[key]: n for n, key in enumerate(table.keys)}
    truth = scipy_io.loadmat(folder / "det_validation_ground_truth.mat")
    images, boxes, labels = [], [], []
    columns = (truth["gt_img_ids"], truth["gt_obj_labels"], truth["gt_obj_bboxes"])
    for image, objects, corners in zip(*(np.asarray(c).reshape(-1) for c in columns), strict=True):
        for label, corner in zip(
            np.asarray(objects).reshape(-1), np.asarray(corners, float).reshape(4, -1).T, strict=True
        ):
            images.append(place[int(image)])
            labels.append(int(label) - 1)
            boxes.append(corner - [1, 1, 0, 0])
    whole = GroundTruth.of(images, boxes)
    objects_of = [whole.select(np.array(labels) == number) for number in range(200)]
    ignored: dict[str, list[int]] = {wnid: [] for wnid in wnids}
    for line in (folder / "det_validation_blacklist.txt").read_text().splitlines():
        image, wnid = line.split()
        ignored.get(wnid, []).append(place[int(image)])
    expected = json.loads((folder / "eval" / "expected.json").read_text())
    for name, blacklist in (("with_blacklist", ignored), ("without_blacklist", {})):
        results = [
            evaluate_det(objects_of[n], found[table.categories.index(wnid)], blacklist.get(wnid, ()))
            for n, wnid in enumerate(wnids)
        ]
        # float32 corners move a few of 55,502 overlaps across their threshold
        assert np.mean([result.area_ap for result in results]) == pytest.approx(expected[name]["mean"], abs=2e-6)
