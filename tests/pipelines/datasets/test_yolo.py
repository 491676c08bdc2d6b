"""YOLO's layout: label files beside images, names in YAML or text, lines that are wrong named by their number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.artifacts.annotations import ObjectAnnotation
from pipelines.datasets.contents import Contents
from pipelines.datasets.yolo import Yolo, YoloDataset
from pipelines.outputs.ids import category_numbers
from sppnet.errors import ConfigError
from tests.support.data_sets import changes, check_items
from tests.support.ingested import ingest, write_images

NAMES = "path: ../datasets/coco8\ntrain: images/train\nval: ../val/images\nnc: 2\nnames:\n  0: person\n  1: no\n"


def config(root: Path, **fields: Any) -> dict[str, Any]:
    return {"kind": "yolo", "root": str(root), "splits": ["train"], **fields}


def opened(root: Path, **fields: Any) -> Yolo:
    return YoloDataset.model_validate(config(root, **fields)).open()


def write_label(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images with labels in a split each, in the layouts of ultralytics and of Roboflow; one without."""
    write_images(
        tmp_path, "images/train/a.1.jpg", "images/train/sub/b.png", "images/train/bare.jpg", "val/images/c.jpg"
    )
    write_label(tmp_path, "labels/train/a.1.txt", "0 0.5 0.5 0.5 1\r\n\r\n1 0.25 0.5 0.1 0.2\n")
    write_label(tmp_path, "labels/train/sub/b.txt", "1 0.1 0.2 0.5 0.1 0.3 0.8 0.2 0.4\n")
    write_label(tmp_path, "val/labels/c.txt", "\ufeff1.0 0.5 0.5 0.2 0.2")
    (tmp_path / "data.yaml").write_text(NAMES)
    return tmp_path


def test_boxes_outlines_and_images_without_labels(root: Path) -> None:
    write_label(root, "labels/train/lone.txt", "0 0.5 0.5 0.5 1")
    write_label(root, "labels/train/classes.txt", "person\n")
    found = ingest(config(root, splits=["train", "val"]), root.parent / "workspace")
    assert list(found.done) == ["images/train/a%2E1", "images/train/bare", "images/train/sub/b", "val/images/c"]
    first, bare, outline, last = found.done.values()
    assert first.objects[0] == ObjectAnnotation("person", (10.0, 0.0, 30.0, 30.0))
    assert first.objects[1].category == "no"
    assert first.objects[1].box == pytest.approx((8.0, 12.0, 12.0, 18.0))
    assert bare.objects == ()
    assert outline.objects[0].box == pytest.approx((4.0, 3.0, 20.0, 24.0))
    assert last.objects[0].box == pytest.approx((16.0, 12.0, 24.0, 18.0))
    assert category_numbers(found.chain.manifest) == {"person": 0, "no": 1}
    contents = Contents()
    opened(root).items("train", contents)
    assert contents.left_out.describe() == (
        "train: 1 images without a label file show nothing, first images/train/bare; "
        "train: 1 label files without an image, first labels/train/lone.txt"
    )
    check_items(lambda: opened(root, splits=["train", "val"]))


def test_a_line_that_is_wrong_sets_its_image_aside(root: Path) -> None:
    good = "0 0.5 0.5 0.5 1\n"
    lines = {
        "words": "0 0.5 x 0.5 1",
        "pixels": "0 120 80 40 30",
        "nan": "0 nan 0.5 0.5 0.5",
        "short": "0 0.5 0.5 0.5",
        "scored": "0 0.5 0.5 0.5 0.5 0.9",
        "class": "2 0.5 0.5 0.5 1",
        "minus": "-1 0.5 0.5 0.5 1",
        "half": "0.5 0.5 0.5 0.5 1",
        "flat": "0 0.5 0.5 0 1",
        "far": "0 0.9 0.5 0.5 1",
    }
    for name, line in lines.items():
        write_images(root, f"images/train/{name}.jpg")
        write_label(root, f"labels/train/{name}.txt", good + line)
    found = ingest(config(root), root / "workspace")
    reasons = {key.rpartition("/")[2]: reason for key, reason in found.aside.items()}
    assert reasons == {
        **dict.fromkeys(("words", "pixels", "nan", "short", "scored"), "bad-annotation"),
        **dict.fromkeys(("class", "minus", "half"), "unknown-category"),
        "flat": "bad-box",
        "far": "box-outside-image",
    }
    assert "images/train/pixels: line 2: 120 is not a fraction" in found.details["images/train/pixels"]
    mended = ingest(config(root, bad_boxes="mend"), root / "workspace2")
    assert mended.done["images/train/far"].objects[1].box == pytest.approx((26.0, 0.0, 40.0, 30.0))
    assert len(mended.done["images/train/flat"].objects) == 1


def test_lists_classes_txt_and_folders_of_the_config(root: Path) -> None:
    (root / "train.txt").write_text("./images/train/sub/b.png\nimages/train/gone.jpg\n")
    (root / "classes.txt").write_text("person\nno\n")
    data = opened(root, names="classes.txt", images={"train": "train.txt"})
    assert [item.key for item in data.items("train", Contents())] == ["images/train/sub/b", "images/train/gone"]
    found = ingest(config(root, names="classes.txt", images={"train": "train.txt"}), root / "workspace")
    assert (list(found.done), found.aside) == (["images/train/sub/b"], {"images/train/gone": "missing-image"})
    by_default = opened(root, names="classes.txt")
    assert len(by_default.items("train", Contents())) == 3
    with pytest.raises(ConfigError, match=r"split 'val' has no images in .*images/val; name .* dataset.images.val"):
        opened(root, names="classes.txt", splits=["val"]).items("val", Contents())


def test_a_split_without_labels_is_refused_and_a_label_costs_its_image(root: Path) -> None:
    write_images(root, "images/other/a.jpg")
    with pytest.raises(ConfigError, match=r"no image has a label file, the first would be .*labels/other/a.txt"):
        opened(root, splits=["other"]).items("other", Contents())
    assert changes(lambda: opened(root), lambda: write_label(root, "labels/train/a.1.txt", "")) == (
        [],
        ["images/train/a%2E1"],
        1,
    )
