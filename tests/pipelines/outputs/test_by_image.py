"""Detections by image, as YOLO, FiftyOne and Hugging Face keep them: nothing is lost on the way back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipelines.artifacts.detections import DetectionRow, DetectionTable
from pipelines.artifacts.image_tars import ImageRecord
from pipelines.datasets.contents import Contents
from pipelines.datasets.kinds import parse_dataset
from pipelines.outputs.by_image import (
    SplitImages,
    image_records,
    image_sizes,
    write_fiftyone,
    write_hugging_face,
    write_hugging_face_parquet,
    write_yolo,
)
from pipelines.shards.reading import IngestedImages
from sppnet.sizes import Size
from tests.support.chain import Chain
from tests.support.ingested import write_images
from tests.support.stored_rows import table_of_rows
from tests.support.written_detections import halves, plain

SIZES = {"a/1": Size(40, 30), "b": Size(1400, 80), "none": Size(7, 9)}
IMAGES = SplitImages("val", ("cat", "dog", "car"), SIZES, "{}.jpg".format)


def back(found: dict[str, list[tuple[str, float, list[float]]]]) -> list[tuple]:
    """Rows of names without extension, categories, scores and corners, as a table has them."""
    rows = [DetectionRow(k, name, score, tuple(box), None) for k, own in found.items() for name, score, box in own]
    return plain(table_of_rows(rows))


def same(found: list[tuple], table: DetectionTable) -> None:
    want = plain(table)
    assert [row[:3] for row in found] == [row[:3] for row in want]
    np.testing.assert_allclose([row[3:] for row in found], [row[3:] for row in want], rtol=1e-6, atol=1e-5)


def test_yolo(table: DetectionTable, tmp_path: Path) -> None:
    paths = write_yolo(halves(table), IMAGES, tmp_path)
    labels = tmp_path / "labels/val"
    assert paths == [tmp_path / "data.yaml", labels / "a/1.txt", labels / "b.txt", labels / "none.txt"]
    names = yaml.safe_load(paths[0].read_text())["names"]
    assert names == {0: "cat", 1: "dog", 2: "car"}
    assert paths[1].read_text() == "2 0.125 0.3333333333 0.25 0.6666666667 0.5\n"
    assert [line[0] for line in paths[2].read_text().splitlines()] == ["1", "2"]  # by falling score
    assert paths[3].read_text() == ""
    found: dict[str, list] = {}
    for key, (width, height) in SIZES.items():
        for line in (labels / f"{key}.txt").read_text().splitlines():
            number, *values = line.split()
            x, y, w, h, score = map(float, values)
            box = [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]
            found.setdefault(key, []).append((names[int(number)], score, box))
    same(back(found), table)


def test_yolo_labels_are_a_data_set_again(table: DetectionTable, tmp_path: Path) -> None:
    """Five columns and no `path`: what ultralytics 8.4's loader takes, where this was tried."""
    write_yolo(halves(table), IMAGES, tmp_path, scores=False)
    assert yaml.safe_load((tmp_path / "data.yaml").read_text()).keys() == {"train", "val", "names"}
    write_images(tmp_path, *(f"images/val/{key}.jpg" for key in SIZES))
    opened = parse_dataset({"kind": "yolo", "root": str(tmp_path), "splits": ["val"]}).open()
    found = {}
    for place in opened.places("val"):
        key = place.key.removeprefix("images/val/")
        found[key] = opened.annotation(place, *SIZES[key]).objects
    rows = {key: [(one.category, 0.0, [*one.box]) for one in own] for key, own in found.items()}
    want = {key: [(row[1], 0.0, [*row[3:]]) for row in plain(table) if row[0] == key] for key in SIZES}
    same(
        back(rows), table_of_rows([DetectionRow(k, n, s, tuple(b), None) for k, own in want.items() for n, s, b in own])
    )


def test_fiftyone(table: DetectionTable, tmp_path: Path) -> None:
    (path,) = write_fiftyone(halves(table), IMAGES, tmp_path)
    body = json.loads(path.read_text())
    assert body["classes"] == ["cat", "dog", "car"]
    assert list(body["labels"]) == list(SIZES)
    assert body["labels"]["none"] == []
    assert body["labels"]["a/1"] == [{"label": 2, "bounding_box": [0, 0, 0.25, 20 / 30], "confidence": 0.5}]
    found = {
        key: [
            (body["classes"][one["label"]], one["confidence"], corners(one["bounding_box"], *SIZES[key])) for one in own
        ]
        for key, own in body["labels"].items()
    }
    same(back(found), table)


def corners(box: list[float], width: float = 1, height: float = 1) -> list[float]:
    x, y, w, h = box
    return [x * width, y * height, (x + w) * width, (y + h) * height]


def test_hugging_face(table: DetectionTable, tmp_path: Path) -> None:
    (path,) = write_hugging_face(halves(table), IMAGES, tmp_path)
    assert path == tmp_path / "val/metadata.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["file_name"] for row in rows] == ["a/1.jpg", "b.jpg", "none.jpg"]
    assert rows[2]["objects"] == {"bbox": [], "category": [], "score": []}
    assert [(row["width"], row["height"]) for row in rows] == [*SIZES.values()]
    found = {
        row["file_name"].removesuffix(".jpg"): [
            (name, score, corners(box))
            for name, score, box in zip(*(row["objects"][what] for what in ("category", "score", "bbox")), strict=True)
        ]
        for row in rows
    }
    same(back(found), table)


def test_hugging_face_parquet_has_the_images_and_is_a_data_set_again(table: DetectionTable, tmp_path: Path) -> None:
    records = [ImageRecord(key, "jpg", key.encode(), *size) for key, size in SIZES.items()]
    aside = ImageRecord("aside", "jpg", b"", 1, 1)
    images = replace(IMAGES, records=lambda: iter([records[:1], [aside, *records[1:]]]))
    (path,) = write_hugging_face_parquet(halves(table), images, tmp_path)
    assert path == tmp_path / "data/val-00000-of-00001.parquet"
    dataset = parse_dataset({"kind": "hugging-face", "root": str(tmp_path), "splits": {"val": "data/val-*.parquet"}})
    opened, contents = dataset.open(), Contents()
    assert opened.categories(contents) == ("cat", "dog", "car")
    assert len({item.group for item in opened.items("val", contents)}) == 2  # a row group a shard
    for place, record in zip(opened.places("val"), records, strict=True):
        assert opened.image(place).data == record.data
        note = opened.annotation(place, *record.size)
        want = [row for row in plain(table) if row[0] == record.key]
        assert sorted((one.category, *np.float32(one.box)) for one in note.objects) == [
            (row[1], *np.float32(row[3:])) for row in want
        ]


def test_sizes_are_those_annotated_or_the_images_own(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    images = chain.ingested
    annotated = image_sizes(images, "val")
    assert list(annotated) == [key for unit in chain.shards("val") for key in chain.manifest.keys(unit)]
    monkeypatch.setattr(IngestedImages, "read_annotations", lambda *_: ({}, ()))
    assert image_sizes(images, "val") == annotated


def test_records_are_the_images_of_a_split_shard_by_shard(chain: Chain) -> None:
    shards = [[record.key for record in records] for records in image_records(chain.ingested, "val")]
    assert shards == [[*chain.manifest.keys(unit)] for unit in chain.shards("val")]
