"""Generated entries, lines and rows of boxes through ingest: every image is done or set aside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.fuzzed import NASTY, Fuzz
from tests.support.ingested import ingest, write_images

COUNT = 60
NAMES = tuple(f"{number:02d}.png" for number in range(COUNT))
ODD: tuple[Any, ...] = (None, "", "7", -1, 1.5, 10**400, True, [], {}, [1, 2], "x" * 500, "\ud800", float("nan"))


def spoilt_line(fuzz: Fuzz, line: str) -> str:
    """A line with something nasty in it, as text that has lines of its own."""
    data = fuzz.spoilt(line.encode(), 0.4)
    return data.decode("utf-8", "replace").replace("\0", "?")


def test_label_files(tmp_path: Path) -> None:
    fuzz = Fuzz(1)
    write_images(tmp_path / "images" / "train", *NAMES)
    (tmp_path / "classes.txt").write_text("cup\nbowl\n")
    labels = tmp_path / "labels" / "train"
    labels.mkdir(parents=True)
    for name in NAMES:
        lines = b"".join(b"%d 0.5 0.5 0.25 0.5\n" % kind for kind in fuzz.rng.integers(0, 2, 3))
        (labels / name).with_suffix(".txt").write_bytes(fuzz.spoilt(lines, 0.5))
    dataset = {"kind": "yolo", "root": str(tmp_path), "splits": ["train"], "names": "classes.txt"}
    found = ingest(dataset, tmp_path / "workspace")
    assert len(found.done) + len(found.aside) == COUNT
    assert min(len(found.done), len(found.aside)) > COUNT // 10


def test_tables(tmp_path: Path) -> None:
    fuzz = Fuzz(2)
    write_images(tmp_path / "train", *NAMES)
    rows = [f"{name.removesuffix('.png')},cup,0.25,0.25,0.75,0.75" for name in NAMES]
    lines = ["ImageID,LabelName,XMin,YMin,XMax,YMax", *(spoilt_line(fuzz, row).replace('"', "'") for row in rows)]
    (tmp_path / "boxes.csv").write_text("\n".join(lines), errors="replace")
    splits = {"train": {"boxes": "boxes.csv", "images": "train"}}
    found = ingest({"kind": "csv", "root": str(tmp_path), "splits": splits}, tmp_path / "workspace")
    assert len(found.done) + len(found.aside) == COUNT
    assert min(len(found.done), len(found.aside)) > COUNT // 20


def test_instances(tmp_path: Path) -> None:
    fuzz = Fuzz(3)
    write_images(tmp_path / "train", *NAMES)

    def spoilt(entry: dict[str, Any], kept: str) -> dict[str, Any]:
        for name in entry:
            if name != kept and fuzz.chance(0.06):
                entry[name] = fuzz.one_of((*ODD, NASTY[3].decode()))
        return entry

    images = [
        spoilt({"file_name": name, "id": n, "width": 40, "height": 30}, "file_name") for n, name in enumerate(NAMES)
    ]
    annotations = [
        spoilt({"id": n, "image_id": n % COUNT, "bbox": [1, 2, 30, 20], "category_id": 5, "area": 9, "iscrowd": 0}, "")
        for n in range(3 * COUNT)
    ]
    body = {"images": images, "annotations": annotations, "categories": [{"id": 5, "name": "cup"}]}
    (tmp_path / "train.json").write_text(json.dumps(body))
    splits = {"train": {"annotations": "train.json", "images": "train"}}
    found = ingest({"kind": "coco", "root": str(tmp_path), "splits": splits}, tmp_path / "workspace")
    assert len(found.done) + len(found.aside) == COUNT
    assert min(len(found.done), len(found.aside)) > COUNT // 10
