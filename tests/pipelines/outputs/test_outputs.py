"""Detections written in other formats: files as their programs expect them, and nothing lost on the way back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.artifacts.detections import DetectionRow, DetectionTable, decode_detections
from pipelines.artifacts.manifest import Manifest
from pipelines.detecting.detection_sets import DetectionSet, final_boxes, parse_top_per_set
from pipelines.outputs.coco import read_coco, write_coco
from pipelines.outputs.export import ExportOptions, check_format, export
from pipelines.outputs.ids import Numbers, category_numbers
from pipelines.outputs.text import read_det, read_voc, write_det, write_voc
from sppnet.errors import ConfigError
from sppnet.evaluation.curves import Detections, GroundTruth
from sppnet.evaluation.det import evaluate_det

ROWS = [
    DetectionRow("a/1", "car", 0.5, (0.0, 0.0, 10.0, 20.0), None),
    DetectionRow("b", "car", -1.25, (3.3, 4.7, 100.1234, 50.0), (3.0, 4.0, 99.0, 51.0)),
    DetectionRow("b", "dog", 1 / 3, (1234.567, 0.125, 1300.0, 77.77), None),
]
NUMBERS = Numbers({"a/1": 7, "b": 20121}, {"car": 37, "dog": 200, "cat": 1})


def plain(table: DetectionTable) -> list[tuple]:
    return sorted((row.key, row.category, np.float32(row.score), *np.float32(row.box)) for row in table.rows())


def close(a: DetectionTable, b: DetectionTable) -> None:
    """Equal scores and names, boxes to a millionth of a pixel."""
    left, right = plain(a), plain(b)
    assert [row[:3] for row in left] == [row[:3] for row in right]
    np.testing.assert_allclose([row[3:] for row in left], [row[3:] for row in right], rtol=1.2e-7, atol=1e-7)


@pytest.fixture
def table() -> DetectionTable:
    return DetectionTable.of_rows(ROWS)


def halves(table: DetectionTable) -> list[DetectionTable]:
    return [table.select(np.arange(2)), table.select(np.arange(2, 3))]


def test_voc_files(table: DetectionTable, tmp_path: Path) -> None:
    paths = write_voc(halves(table), ("car", "dog", "cat"), "test", tmp_path)
    assert [path.name for path in paths] == [f"comp4_det_test_{name}.txt" for name in ("car", "dog", "cat")]
    assert paths[0].read_text() == "a/1 0.5 1 1 10 20\nb -1.25 4.299999952 5.699999809 100.1233978 50\n"
    assert paths[2].read_text() == ""
    for name, path in zip(("car", "dog"), paths, strict=False):
        number = table.categories.index(name)
        close(read_voc(path.read_bytes(), name, path.name), table.select(table.category == number))
    assert len(read_voc(b"", "cat", "cat.txt")) == 0


def test_voc_files_that_are_not(tmp_path: Path, table: DetectionTable) -> None:
    with pytest.raises(ConfigError, match=r"x.txt: line 2 is not '<image> <score>"):
        read_voc(b"a 1 1 1 2 2\nb 1 1 1 2\n", "car", "x.txt")
    with pytest.raises(ConfigError, match=r"x.txt: line 1 is not"):
        read_voc(b"a high 1 1 2 2\n", "car", "x.txt")
    with pytest.raises(ConfigError, match="can't be part of a file's name"):
        write_voc([], ("a/b",), "val", tmp_path)


def test_det_submission(table: DetectionTable, tmp_path: Path) -> None:
    (path,) = write_det(halves(table), NUMBERS, "val", tmp_path)
    lines = path.read_text().splitlines()
    assert lines[0] == "7 37 0.5 1 1 10 20"
    assert lines[2].startswith("20121 200 0.333333343 1235.567")
    close(read_det(path.read_bytes(), NUMBERS, path.name), table)
    with pytest.raises(ConfigError, match="category 'dog' has no number"):
        write_det([table], Numbers(NUMBERS.images, {"car": 1}), "val", tmp_path)


def test_det_submissions_that_are_not() -> None:
    for data, message in (
        (b"7 37 0.5 1 1 10\n", "line 1 is not"),
        (b"7 37 0.5 1 1 10 20\n7 37 x 1 1 10 20\n", "line 2 is not"),
        (b"8 37 0.5 1 1 10 20\n", "image index 8 in line 1 is not known"),
        (b"7 201 0.5 1 1 10 20\n", "id 201 in line 1 is not known"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_det(data, NUMBERS, "sub.txt")
    assert len(read_det(b"", NUMBERS, "sub.txt")) == 0


def test_coco_results(table: DetectionTable, tmp_path: Path) -> None:
    path, names = write_coco(halves(table), NUMBERS, "val", tmp_path)
    found = json.loads(path.read_text())
    assert found[0] == {"image_id": 7, "category_id": 37, "bbox": [0, 0, 10, 20], "score": 0.5}
    assert all(list(entry) == ["image_id", "category_id", "bbox", "score"] for entry in found)
    close(read_coco(path.read_bytes(), NUMBERS), table)
    assert Numbers.parse(names.read_bytes(), "n") == NUMBERS
    empty, _ = write_coco([], NUMBERS, "val", tmp_path)
    assert json.loads(empty.read_text()) == []


def test_numbers_from_lists_and_json(shared: Path) -> None:
    listed = Numbers.parse((shared / "data/ilsvrc_det/det_lists/val.txt").read_bytes(), "val.txt")
    assert len(listed.images) == 20121
    assert listed.of_image("ILSVRC2012_val_00000006") == 2
    coco = Numbers.parse((shared / "data/fixtures/coco100/gts.json").read_bytes(), "gts.json")
    assert len(coco.images) == 100
    assert coco.of_image("COCO_val2014_000000001146") == 1146
    assert coco.of_category("person") == 1
    for data, message in (
        (b"a 1\na 2\n", "'a' comes twice"),
        (b"a 1\nb 1\n", "'a' and 'b' both have the number 1"),
        (b"a\n", "neither JSON nor a list"),
        (b'{"images": {"a": "x"}}', "no numbers"),
        (b'{"images": [{"file_name": "a.jpg"}]}', "no numbers"),
        (b"{", "no numbers"),
    ):
        with pytest.raises(ConfigError, match=message):
            Numbers.parse(data, "n")


def test_det_ids_are_the_data_sets_order() -> None:
    manifest = Manifest({}, ("n1", "n0", "n2"))
    assert category_numbers(manifest) == {"n1": 1, "n0": 2, "n2": 3}


@pytest.fixture
def full(chain) -> DetectionSet:
    return DetectionSet(chain.artifact("full"), Manifest.read(chain.artifact("images")), "val")


def expected(full: DetectionSet, kind: str) -> list[tuple]:
    parts = [final_boxes(table, kind, 0.3) for table in full.tables()]
    return sorted(row for part in parts for row in plain(part))


def test_export_of_a_run(chain, full: DetectionSet, tmp_path: Path) -> None:
    images = chain.artifact("images")
    numbers = Numbers({key: n for n, key in enumerate(full.keys, 5)}, {})
    for kind in ("windows", "regressed"):
        want = expected(full, kind)
        out = tmp_path / kind
        for name in ("voc", "coco", "det"):
            written = export(full, images, ExportOptions(name, boxes=kind, numbers=numbers), str(out))
            assert (written.detections, written.boxes) == (len(want), kind)
        ids = Numbers(numbers.images, category_numbers(full.manifest))
        coco = read_coco((out / "coco_val.json").read_bytes(), ids)
        det = read_det((out / "det_submission_val.txt").read_bytes(), ids, "det")
        voc = [
            row
            for name in full.categories
            for row in plain(read_voc((out / f"comp4_det_val_{name}.txt").read_bytes(), name, name))
        ]
        for found in (plain(coco), plain(det), sorted(voc)):
            assert [row[:3] for row in found] == [row[:3] for row in want]
            np.testing.assert_allclose([row[3:] for row in found], [row[3:] for row in want], rtol=1.2e-7, atol=1e-6)
        assert not list(out.glob(".writing*"))
    assert expected(full, "windows") != expected(full, "regressed")


def test_parquet_keeps_what_is_stored(chain, full: DetectionSet, tmp_path: Path) -> None:
    written = export(full, chain.artifact("images"), ExportOptions("parquet"), str(tmp_path))
    (path,) = written.files
    rows = decode_detections(Path(path).read_bytes(), path)
    stored = [row for unit in full.units for row in decode_detections(full.artifact.read(unit), unit)]
    values = [(r.key, r.category, r.score, r.box, r.regressed) for r in rows]
    assert values == [(r.key, r.category, r.score, r.box, r.regressed) for r in stored]
    assert written.detections == len(stored) > 0


def test_caps_over_the_set(chain, full: DetectionSet, tmp_path: Path) -> None:
    stored = [row for unit in full.units for row in decode_detections(full.artifact.read(unit), unit)]
    options = ExportOptions("parquet", top_per_set="2/image", threshold=-0.99)
    written = export(full, chain.artifact("images"), options, str(tmp_path))
    rows = decode_detections(Path(written.files[0]).read_bytes(), "x")
    order = {key: n for n, key in enumerate(full.keys)}
    for category in full.categories:
        own = sorted((r for r in stored if r.category == category), key=lambda r: (-r.score, order[r.key], r.box))
        assert len(own) > 12
        best = [(r.key, r.score, r.box) for r in own[:12] if r.score > -0.99]
        assert [(r.key, r.score, r.box) for r in rows if r.category == category] == best


def test_what_can_not_be_exported(chain, full: DetectionSet, tmp_path: Path) -> None:
    images, manifest = chain.artifact("images"), full.manifest
    with pytest.raises(ConfigError, match="no numbers; name the list that has them with --numbers"):
        export(full, images, ExportOptions("det"), str(tmp_path))
    with pytest.raises(ConfigError, match="made without box regressors"):
        export(
            DetectionSet(chain.artifact("plain"), manifest, "val"),
            images,
            ExportOptions("voc", boxes="regressed"),
            str(tmp_path),
        )
    with pytest.raises(ConfigError, match="split train: 3 of 3 shards have no detections"):
        export(DetectionSet(full.artifact, manifest, "train"), images, ExportOptions("voc"), str(tmp_path))
    with pytest.raises(ConfigError, match=r"split .?test.? is not in the images"):
        export(DetectionSet(full.artifact, manifest, "test"), images, ExportOptions("voc"), str(tmp_path))
    with pytest.raises(ConfigError, match="'xml' is not one of coco, voc, det, parquet"):
        check_format("xml")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't be written"):
        export(full, images, ExportOptions("voc"), str(tmp_path / "file"))


def test_top_per_set_as_it_is_typed() -> None:
    assert parse_top_per_set(None, 10) is None
    assert parse_top_per_set("30000", 10) == parse_top_per_set(30000, 10) == 30000
    assert parse_top_per_set("5/image", 10) == 50
    for wrong in ("0", "5/images", "-3", "all", ""):
        with pytest.raises(ConfigError, match="neither a number such as 30000 nor one per image"):
            parse_top_per_set(wrong, 10)


def test_dets_demo_submission_through_the_reader(shared: Path) -> None:
    """The devkit's demo file, read as a submission, gives the official mean average precision over 200 categories."""
    scipy_io = pytest.importorskip("scipy.io")
    folder = shared / "data" / "ilsvrc_det"
    wnids = [line.split()[0] for line in (folder / "map_det.txt").read_text().splitlines()]
    listed = Numbers.parse((folder / "det_lists" / "val.txt").read_bytes(), "val.txt")
    numbers = Numbers(listed.images, {wnid: number for number, wnid in enumerate(wnids, 1)})
    data = (folder / "eval" / "demo.val.pred.det.txt").read_bytes()
    table = read_det(data, numbers, "demo")
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
