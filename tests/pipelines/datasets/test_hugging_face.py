"""Hugging Face's Parquet files: images in rows, classes and objects by the names of their features."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.artifacts.annotations import ObjectAnnotation
from pipelines.datasets.contents import Contents
from pipelines.datasets.hugging_face import HuggingFace, HuggingFaceDataset
from sppnet.errors import ConfigError
from tests.support.data_sets import changes, check_items
from tests.support.ingested import Ingested, ingest

NAMES = {"names": ["cat", "dog"], "_type": "ClassLabel"}


def png(grey: int = 0) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.full((30, 40, 3), grey, np.uint8)).save(sink, "png")
    return sink.getvalue()


def cell(grey: int = 0, path: str | None = None) -> dict[str, Any]:
    return {"bytes": png(grey), "path": path}


def write(path: Path, columns: dict[str, Any], features: Any = None, size: int = 2) -> None:
    table = pa.table(columns)
    if features is not None:
        told = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": told})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=size)


def config(root: Path, **fields: Any) -> dict[str, Any]:
    return {"kind": "hugging-face", "root": str(root), "splits": {"train": "data/train-*.parquet"}, **fields}


def opened(root: Path, **fields: Any) -> HuggingFace:
    return HuggingFaceDataset.model_validate(config(root, **fields)).open()


def run(root: Path, **fields: Any) -> Ingested:
    return ingest(config(root, **fields), root / "workspace")


def test_classes_by_their_names_a_row_group_a_shard(tmp_path: Path) -> None:
    rows = [cell(1), cell(2, "x/b.PNG"), cell(3), cell(4), {"bytes": None, "path": "elsewhere/c.jpg"}]
    write(tmp_path / "data" / "train-0.parquet", {"image": rows[:3], "label": [1, 0, 7]}, {"label": NAMES})
    write(tmp_path / "data" / "train-1.parquet", {"image": rows[3:], "label": [1, None]}, {"label": NAMES})
    found = run(tmp_path)
    assert [shard.keys for shard in found.chain.manifest.shards("train")] == [
        ("data/train-0/000000", "data/train-0/000001"),
        ("data/train-0/000002",),
        ("data/train-1/000000", "data/train-1/000001"),
    ]
    whole = (0.0, 0.0, 40.0, 30.0)
    assert [note.objects for note in found.done.values()] == [
        (ObjectAnnotation("dog", whole),),
        (ObjectAnnotation("cat", whole),),
        (ObjectAnnotation("dog", whole),),
    ]
    assert found.aside == {"data/train-0/000002": "unknown-category", "data/train-1/000001": "missing-image"}
    assert "elsewhere/c.jpg" in found.details["data/train-1/000001"]
    assert found.chain.manifest.categories == ("cat", "dog")
    check_items(lambda: opened(tmp_path))


@pytest.mark.parametrize("form", ["list", "struct"])
def test_objects_of_either_form(tmp_path: Path, form: str) -> None:
    entries = [
        [{"bbox": [1.0, 2.0, 3.0, 4.0], "category": 0, "area": 9.5, "iscrowd": 0}],
        [],
        [{"bbox": [0.0, 0.0, 9.0, 9.0], "category": 1, "area": 81.0, "iscrowd": 1}],
        [{"bbox": [0.0, 0.0, 99.0, 9.0], "category": 1, "area": 81.0, "iscrowd": 0}],
        [{"bbox": [0.0, 0.0, 9.0], "category": 1, "area": 81.0, "iscrowd": 0}],
    ]
    names = ("bbox", "category", "area", "iscrowd")
    lists = [{name: [entry[name] for entry in row] for name in names} for row in entries]
    objects = entries if form == "list" else lists
    write(
        tmp_path / "data" / "train-0.parquet",
        {"image": [png(n) for n in range(5)], "objects": objects, "label": [0] * 5},
        {"objects": {"feature": {"category": NAMES}, "_type": "Sequence"}},
    )
    found = run(tmp_path)
    first, none, crowd = found.done.values()
    assert first.objects == (ObjectAnnotation("cat", (1.0, 2.0, 4.0, 6.0), area=9.5),)
    assert none.objects == ()
    assert crowd.objects == (ObjectAnnotation("dog", (0.0, 0.0, 9.0, 9.0), difficult=True, crowd=True, area=81.0),)
    assert found.aside == {"data/train-0/000003": "box-outside-image", "data/train-0/000004": "bad-annotation"}
    corners = opened(tmp_path, boxes="xyxy", categories=["cat"])
    place = next(iter(corners.places("train")))
    assert corners.annotation(place, 40, 30).objects[0].box == (1.0, 2.0, 3.0, 4.0)
    with pytest.raises(ConfigError, match=r"dataset.categories: 'cats' is not in .*; did you mean 'cat'"):
        opened(tmp_path, categories=["cats"]).categories(Contents())


def test_names_in_rows_and_no_label_at_all(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train-0.parquet", {"image": [cell()], "label": ["zebra"]})
    assert run(tmp_path).chain.manifest.categories == ("zebra",)
    write(tmp_path / "data" / "train-0.parquet", {"image": [cell(5)], "text": ["a caption"]})
    assert [note.objects for note in run(tmp_path).done.values()] == [()]


def test_a_row_that_changes_costs_its_shards_labels_only(tmp_path: Path) -> None:
    path = tmp_path / "data" / "train-0.parquet"
    images = [cell(n) for n in range(3)]
    write(path, {"image": images, "label": [0, 1, 0]}, {"label": NAMES})
    change = {"image": images, "label": [0, 1, 1]}
    assert changes(lambda: opened(tmp_path), lambda: write(path, change, {"label": NAMES})) == (
        [],
        ["data/train-0/000002"],
        1,
    )


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "data" / "train-0.parquet"
    write(path, {"picture": [png()], "label": [1]})
    with pytest.raises(ConfigError, match=r"train-0.parquet: no column 'image' of images; it has: picture, label"):
        opened(tmp_path).items("train", Contents())
    write(path, {"image": [cell()], "label": [0]}, "no features")
    assert opened(tmp_path).categories(Contents()) == ("0",)


def test_a_broken_or_empty_file_is_set_aside_by_its_name_and_the_others_go_on(tmp_path: Path) -> None:
    for number in range(4):
        images = [cell(10 * number + n) for n in range(3)]
        write(tmp_path / "data" / f"train-{number}.parquet", {"image": images, "label": [0, 1, 0]}, {"label": NAMES})
    (tmp_path / "data" / "train-0.parquet").write_bytes(b"PAR1" + bytes(40))
    write(tmp_path / "data" / "train-1.parquet", {"image": pa.array([], pa.binary())})
    damaged = bytearray((tmp_path / "data" / "train-2.parquet").read_bytes())
    damaged[4:30] = b"\xff" * 26  # of the first row group
    (tmp_path / "data" / "train-2.parquet").write_bytes(bytes(damaged))
    check_items(lambda: opened(tmp_path))
    found = run(tmp_path)
    assert list(found.done) == ["data/train-2/000002", *(f"data/train-3/00000{n}" for n in range(3))]
    assert found.aside == {
        "data/train-0": "shard-broken",
        "data/train-1": "shard-empty",
        "data/train-2/000000": "shard-broken",
        "data/train-2/000001": "shard-broken",
    }
    assert "its pages can't be read" in found.details["data/train-2/000000"]
