"""COCO's layout: boxes, crowds and numbers as they are; what is odd is set aside by key, or told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.artifacts.annotations import ObjectAnnotation
from pipelines.datasets.coco import Coco, CocoDataset
from pipelines.datasets.contents import Contents
from pipelines.outputs.ids import category_numbers, image_numbers
from sppnet.errors import ConfigError
from tests.support.data_sets import changes, check_items
from tests.support.ingested import Ingested, ingest, write_images

CAT, DOG = {"id": 3, "name": "cat"}, {"id": 44, "name": "hot dog"}


def image(name: str, number: Any, **fields: Any) -> dict[str, Any]:
    return {"file_name": name, "id": number, "width": 40, "height": 30, **fields}


def thing(number: Any, owner: Any, box: Any, category: Any = 3, **fields: Any) -> dict[str, Any]:
    return {"id": number, "image_id": owner, "bbox": box, "category_id": category, "iscrowd": 0, **fields}


def write(root: Path, images: list[Any], annotations: list[Any], **fields: Any) -> Path:
    body = {"images": images, "annotations": annotations, "categories": [CAT, DOG], **fields}
    (root / "instances.json").write_text(json.dumps(body))
    return root


def config(root: Path, **fields: Any) -> dict[str, Any]:
    split = {"annotations": "instances.json", "images": "images"}
    return {"kind": "coco", "root": str(root), "splits": {"train": split}, **fields}


def opened(root: Path, **fields: Any) -> Coco:
    return CocoDataset.model_validate(config(root, **fields)).open()


def run(root: Path, **fields: Any) -> Ingested:
    return ingest(config(root, **fields), root / "workspace")


OUTLINE = [[1.5, 2.0, 31.5, 2.0, 31.5, 12.25, 1.5, 12.25]]
RLE = {"counts": [200, 31, 9], "size": [30, 40]}


def test_boxes_crowds_areas_and_numbers(tmp_path: Path) -> None:
    """Ids with gaps, folders and dots in names, an image without annotations, no `info`; outlines are passed over."""
    write_images(tmp_path / "images", "a.b/x 1.jpg", "y.png", "none.jpg")
    rows = [
        thing(9, 500, [1.5, 2, 30, 10.25], segmentation=OUTLINE, area=200.5),
        thing(2, 500, [0, 0, 40, 30], 44, iscrowd=1, segmentation=RLE, area=31, keypoints=[1, 2, 2], num_keypoints=1),
        thing(70, 12, [0, 0, 5, 5]),
    ]
    write(tmp_path, [image("a.b/x 1.jpg", 500), image("y.png", 12), image("none.jpg", 90001)], rows)
    found = run(tmp_path)
    first, second, bare = found.done.values()
    assert list(found.done) == ["a%2Eb/x 1", "y", "none"]
    assert first.objects == (
        ObjectAnnotation("cat", (1.5, 2.0, 31.5, 12.25), area=200.5),
        ObjectAnnotation("hot dog", (0.0, 0.0, 40.0, 30.0), difficult=True, crowd=True, area=31.0),
    )
    assert (first.index, second.index, bare.index) == (500, 12, 90001)
    assert second.objects == (ObjectAnnotation("cat", (0.0, 0.0, 5.0, 5.0)),)
    assert bare.objects == ()
    assert found.chain.manifest.categories == ("cat", "hot dog")
    assert category_numbers(found.chain.manifest) == {"cat": 3, "hot dog": 44}
    assert image_numbers(found.chain.ingested, "train") == {"a%2Eb/x 1": 500, "y": 12, "none": 90001}
    check_items(lambda: opened(tmp_path))


def test_ids_may_be_text_on_either_side(tmp_path: Path) -> None:
    write_images(tmp_path / "images", "a.jpg", "b.jpg", "c.jpg")
    images = [image("a.jpg", "00a"), image("b.jpg", "7"), image("c.jpg", 8.0)]
    rows = [thing("x", "00a", [0, 0, 5, 5], "3"), thing("y", 7, [0, 0, 6, 6]), thing("z", "8", [0, 0, 7, 7])]
    found = run(write(tmp_path, images, rows))
    assert [note.objects[0].box[2] for note in found.done.values()] == [5.0, 6.0, 7.0]
    assert [note.index for note in found.done.values()] == ["00a", "7", 8]


def test_what_one_image_can_t_use_sets_that_image_aside(tmp_path: Path) -> None:
    names = ["good", "flat", "far", "kind", "text", "three", "huge", "same", "other", "gone", "out", "noid", "big"]
    write_images(tmp_path / "images", *(f"{name}.jpg" for name in names if name != "gone"))
    (tmp_path / "out.jpg").write_bytes((tmp_path / "images" / "good.jpg").read_bytes())
    images = [image(f"{name}.jpg", number) for number, name in enumerate(names)]
    images[names.index("out")]["file_name"] = "../out.jpg"
    images[names.index("other")]["id"] = names.index("same")
    images[names.index("big")] |= {"width": 30, "height": 40}
    del images[names.index("noid")]["id"]
    rows = [
        thing(1, 0, [0, 0, 40.75, 30]),  # less than a pixel beyond: cut
        thing(2, 1, [5, 5, 0, 10]),
        thing(3, 2, [0, 0, 55, 10]),
        thing(4, 3, [0, 0, 5, 5], 99),
        thing(5, 4, "0 0 5 5"),
        thing(6, 5, [1, 2, 3]),
        thing(7, 6, [0, 0, 10**400, 5]),
    ]
    found = run(write(tmp_path, images, rows))
    assert found.done["good"].objects[0].box == (0.0, 0.0, 40.0, 30.0)
    assert list(found.done) == ["good"]
    assert found.aside == {
        **dict.fromkeys(("text", "three", "huge", "same", "other", "noid"), "bad-annotation"),
        **dict.fromkeys(("gone", "%2E%2E/out"), "missing-image"),
        "flat": "bad-box",
        "far": "box-outside-image",
        "kind": "unknown-category",
        "big": "size-mismatch",
    }
    assert "its id 7 is that of other too" in found.details["same"]
    assert "annotation 4: no category" in found.details["kind"]


def test_boxes_can_be_mended_instead(tmp_path: Path) -> None:
    write_images(tmp_path / "images", "a.jpg")
    rows = [thing(1, 1, [5, 5, 0, 10]), thing(2, 1, [-3, -4, 55, 10]), thing(3, 1, [90, 90, 5, 5])]
    found = run(write(tmp_path, [image("a.jpg", 1)], rows), bad_boxes="mend")
    assert [entry.box for entry in found.done["a"].objects] == [(0.0, 0.0, 40.0, 6.0)]


def test_what_is_odd_in_the_file_is_told(tmp_path: Path) -> None:
    """The same entry twice counts once; annotations of unknown images are counted and named."""
    write_images(tmp_path / "images", "a.jpg", "b.jpg")
    images = [image("a.jpg", 1), image("a.jpg", 1), image("b.jpg", 2), {"id": 3}, "c.jpg"]
    rows = [
        *(thing(1, 1, [0, 0, 5, 5]), thing(1, 1, [0, 0, 5, 5]), thing(1, 2, [0, 0, 6, 6])),
        *(thing(n, 900 + n, [0, 0, 5, 5]) for n in range(20, 25)),
        *(None, {"bbox": [0, 0, 1, 1]}),
    ]
    categories = [CAT, DOG, {"id": 5, "name": "cat"}]
    write(tmp_path, images, [*rows, thing(90, 2, [1, 1, 7, 7], 5)], categories=categories)
    write_images(tmp_path / "images", "more.jpg")
    (tmp_path / "images" / "notes.txt").write_text("x")
    found = run(tmp_path)
    assert [len(note.objects) for note in found.done.values()] == [1, 2]
    assert {entry.category for entry in found.done["b"].objects} == {"cat"}
    contents = Contents()
    opened(tmp_path).items("train", contents)
    assert contents.left_out.counts == {".txt": 1}
    assert list(contents.left_out.named) == [
        "1 images that no instances file lists, first images/more.jpg",
        "1 images listed twice: a.jpg",
        '2 images without a usable file_name: {"id": 3}, "c.jpg"',
        "1 categories named twice: cat",
        "7 annotations without an image: 20, 21, 22 and 4 more",
        "2 annotations with an id that was there before: 1, 1",
    ]


def test_categories_are_chosen_by_name(tmp_path: Path) -> None:
    write_images(tmp_path / "images", "a.jpg")
    write(tmp_path, [image("a.jpg", 1)], [thing(1, 1, [0, 0, 5, 5]), thing(2, 1, [0, 0, 6, 6], 44)])
    found = run(tmp_path, categories=["hot dog"])
    assert [entry.category for entry in found.done["a"].objects] == ["hot dog"]
    assert category_numbers(found.chain.manifest) == {"hot dog": 44}
    with pytest.raises(ConfigError, match=r"dataset.categories: 'hotdog' is not in .*; did you mean 'hot dog'"):
        run(tmp_path, categories=["hotdog"])


def test_a_file_of_images_only(tmp_path: Path) -> None:
    """COCO's `image_info`, and entries that don't say the size."""
    write_images(tmp_path / "images", "a.jpg")
    body = {"images": [{"file_name": "a.jpg", "id": 1}], "categories": [CAT]}
    (tmp_path / "instances.json").write_text(json.dumps(body))
    found = run(tmp_path)
    assert (found.done["a"].size, found.done["a"].objects) == ((40, 30), ())


def test_a_label_that_changes_costs_its_image_only(tmp_path: Path) -> None:
    write_images(tmp_path / "images", "a.jpg", "b.jpg")
    images, rows = [image("a.jpg", 1), image("b.jpg", 2)], [thing(1, 1, [0, 0, 5, 5]), thing(2, 2, [0, 0, 5, 5])]
    write(tmp_path, images, rows)

    def change() -> None:
        moved = {**rows[1], "bbox": [0, 0, 5, 6]}
        write(tmp_path, images, [rows[0], moved], info={"year": 2017})

    assert changes(lambda: opened(tmp_path), change) == ([], ["b"], 1)


def test_captions_folders_and_bytes_that_are_wrong(tmp_path: Path) -> None:
    write_images(tmp_path / "images", "a.jpg")
    caption = {"image_id": 1, "id": 5, "caption": "a cat"}
    write(tmp_path, [image("a.jpg", 1)], [caption])
    with pytest.raises(ConfigError, match="no annotation has a bbox of four numbers"):
        opened(tmp_path).items("train", Contents())
    write(tmp_path, [image("a.jpg", 1)], [], categories=[CAT, {"id": 3, "name": "dog"}])
    with pytest.raises(ConfigError, match="two categories have the id 3"):
        opened(tmp_path).items("train", Contents())
    write(tmp_path, [image("sub/a.jpg", 1)], [])
    with pytest.raises(ConfigError, match=r"none of the images .*images/sub/a.*dataset.splits.train.images"):
        opened(tmp_path).items("train", Contents())
    (tmp_path / "instances.json").write_bytes(b'{"images": ["\xff"]}')
    with pytest.raises(ConfigError, match=r"instances.json: line 1: byte 0xff is not UTF-8"):
        opened(tmp_path).items("train", Contents())
    with pytest.raises(ConfigError, match=r"no instances file of split 'train': .*other.json does not exist"):
        opened(tmp_path, splits={"train": "other.json"}).items("train", Contents())
