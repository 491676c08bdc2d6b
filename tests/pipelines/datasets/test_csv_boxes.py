"""CSV tables of boxes: Open Images' columns, others by name; a row that is wrong sets its image aside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.artifacts.annotations import ObjectAnnotation
from pipelines.datasets.contents import Contents
from pipelines.datasets.csv_boxes import CsvDataset, CsvImages
from sppnet.errors import ConfigError
from tests.support.data_sets import changes, check_items
from tests.support.ingested import Ingested, ingest, write_images

HEADER = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
CLASSES = "/m/01g317,Person\n/m/0k4j,Car\n"


def row(image: str, label: str, *edges: Any, group: int = 0) -> str:
    x0, x1, y0, y1 = edges
    return f"{image},xclick,{label},1,{x0},{x1},{y0},{y1},0,0,{group},0,0"


def config(root: Path, **fields: Any) -> dict[str, Any]:
    split = {"boxes": "boxes.csv", "images": "train"}
    return {"kind": "csv", "root": str(root), "splits": {"train": split}, **fields}


def opened(root: Path, **fields: Any) -> CsvImages:
    return CsvDataset.model_validate(config(root, **fields)).open()


def run(root: Path, *rows: str, **fields: Any) -> Ingested:
    (root / "boxes.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    return ingest(config(root, **fields), root / "workspace")


def test_open_images(tmp_path: Path) -> None:
    """Fractions, codes with names, groups as crowds; of images that are not there the rows are counted."""
    write_images(tmp_path / "train", "0a.jpg", "0b.jpg", "0c.jpg")
    (tmp_path / "classes.csv").write_text("LabelName,DisplayName\n" + CLASSES)
    rows = [
        row("0a", "/m/0k4j", 0.25, 0.75, 0, 1),
        row("0b", "/m/01g317", 0, 1, 0.5, 1, group=1),
        row("0a", "/m/01g317", 0.1, 0.2, 0.1, 0.2),
        *(row(f"gone{n}", "/m/0k4j", 0, 1, 0, 1) for n in range(3)),
        row("", "/m/0k4j", 0, 1, 0, 1),
    ]
    found = run(tmp_path, *rows, classes="classes.csv")
    assert list(found.done) == ["0a", "0b", "0c"]
    assert found.done["0a"].objects[0] == ObjectAnnotation("Car", (10.0, 0.0, 30.0, 30.0))
    assert found.done["0b"].objects == (
        ObjectAnnotation("Person", (0.0, 15.0, 40.0, 30.0), difficult=True, crowd=True),
    )
    assert (len(found.done["0a"].objects), found.done["0c"].objects) == (2, ())
    assert found.chain.manifest.categories == ("Person", "Car")
    contents = Contents()
    opened(tmp_path, classes="classes.csv").items("train", contents)
    assert list(contents.left_out.named) == [
        "train: 3 images of the tables are not there, first gone0",
        "train: 1 rows of the tables name no image",
    ]
    check_items(lambda: opened(tmp_path, classes="classes.csv"))
    cars = run(tmp_path, *rows, classes="classes.csv", categories=["Car"])
    assert [thing.category for note in cars.done.values() for thing in note.objects] == ["Car"]
    with pytest.raises(ConfigError, match=r"dataset.categories: 'car' is not in .*classes.csv; did you mean 'Car'"):
        run(tmp_path, *rows, classes="classes.csv", categories=["car"])


def test_a_row_that_is_wrong_sets_its_image_aside(tmp_path: Path) -> None:
    names = ("good", "word", "pixel", "code", "flat", "none")
    write_images(tmp_path / "train", *(f"{name}.jpg" for name in names))
    (tmp_path / "classes.csv").write_text(CLASSES)
    rows = [
        row("good", "/m/0k4j", 0, 1, 0, 1),
        row("word", "/m/0k4j", 0, "x", 0, 1),
        row("pixel", "/m/0k4j", 10, 20, 10, 20),
        row("code", "/m/00000", 0, 1, 0, 1),
        row("flat", "/m/0k4j", 0.5, 0.5, 0, 1),
        "none,xclick,/m/0k4j,1,0",
    ]
    found = run(tmp_path, *rows, classes="classes.csv")
    assert list(found.done) == ["good"]
    assert found.aside == {
        **dict.fromkeys(("word", "pixel", "none"), "bad-annotation"),
        "code": "unknown-category",
        "flat": "bad-box",
    }
    assert found.details["word"] == "word: boxes.csv: line 3: no box in fractions: 0, 0, x, 1"


def test_columns_of_other_names_in_pixels(tmp_path: Path) -> None:
    """As TensorFlow's and Keras' tables have it; a row without a box is an image without objects."""
    write_images(tmp_path / "train", "sub/a.b.jpg", "c.png")
    text = "filename,width,class,xmin,ymin,xmax,ymax\ntrain/sub/a.b.jpg,40,cat,1,2,30.5,20\nc.png,40,,,,,\n"
    (tmp_path / "boxes.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    columns = {"image": "filename", "category": "class", "xmin": "xmin", "ymin": "ymin", "xmax": "xmax", "ymax": "ymax"}
    found = ingest(config(tmp_path, unit="pixel", columns=columns), tmp_path / "workspace")
    assert found.done["sub/a%2Eb"].objects == (ObjectAnnotation("cat", (1.0, 2.0, 30.5, 20.0)),)
    assert found.done["c"].objects == ()
    with pytest.raises(ConfigError, match=r"boxes.csv has no column 'crowd'; it has: filename, width"):
        opened(tmp_path, columns={**columns, "crowd": "crowd"}).items("train", Contents())


def test_tables_that_are_none(tmp_path: Path) -> None:
    write_images(tmp_path / "train", "a.jpg")
    for data, message in (
        (b"", "has no column 'ImageID'; it has: none"),
        (b"a;b\n", "has no column 'ImageID'; it has: a;b"),
        (HEADER.encode() + b"\n\xff\n", "line 2: byte 0xff is not UTF-8; save the file as UTF-8"),
        (HEADER.encode() + b"\n" + b"x" * 200_000, "line 2: not a CSV table"),
        (HEADER.encode() + b"\n", "know none of the images in .*; they name none"),
        ("\n".join([HEADER, row("b", "c", 0, 1, 0, 1)]).encode(), "they name 'b' and others"),
    ):
        (tmp_path / "boxes.csv").write_bytes(data)
        with pytest.raises(ConfigError, match=message):
            opened(tmp_path).items("train", Contents())
    for text, message in (("a,b,c\n", "expected a code and a name"), ("a,b\na,c\n", "names a code twice")):
        (tmp_path / "classes.csv").write_text(text)
        with pytest.raises(ConfigError, match=f"classes.csv:? {message}"):
            opened(tmp_path, classes="classes.csv").categories(Contents())


def test_a_row_that_changes_costs_its_image(tmp_path: Path) -> None:
    write_images(tmp_path / "train", "a.jpg", "b.jpg")
    rows = [row("a", "cat", 0, 1, 0, 1), row("b", "cat", 0, 1, 0, 1)]

    def write(*lines: str) -> None:
        (tmp_path / "boxes.csv").write_text("\n".join([HEADER, *lines]))

    write(*rows)
    assert changes(lambda: opened(tmp_path), lambda: write(rows[1], row("a", "cat", 0, 0.5, 0, 1))) == ([], ["a"], 0)
