"""ILSVRC DET: both layouts, lists, leaves, blacklists, bad boxes, and the real validation images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.datasets.contents import Contents
from pipelines.datasets.det import Det, DetDataset
from pipelines.datasets.det_lists import read_ids
from pipelines.datasets.keys import mixed
from pipelines.datasets.protocol import Place
from sppnet.errors import ConfigError, DataError
from tests.support.data_sets import changes, check_items, items_of, read_all

CAT, TABBY, ACCORDION, PERSON = "n02121808", "n02123045", "n02672831", "n00007846"
SIZE = (40, 30)


def xml(*objects: tuple, size: tuple[int, int] = SIZE) -> str:
    body = "".join(
        f"<object><name>{name}</name>{extra}<bndbox><xmin>{x0}</xmin><xmax>{x1}</xmax><ymin>{y0}</ymin><ymax>{y1}</ymax>"
        "</bndbox></object>"
        for name, (x0, y0, x1, y1), extra in objects
    )
    return f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{body}</annotation>"


def put(root: Path, image: str, note: str | None = None, text: str = "", mode: str = "RGB") -> None:
    for name in filter(None, (image, note)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, SIZE).save(root / image, "JPEG")
    if note:
        (root / note).write_text(text)


IMAGES = {
    f"{TABBY}/{TABBY}_1": xml((CAT, (0, 0, 39, 29), ""), (ACCORDION, (1, 2, 9, 9), "")),
    "ILSVRC2014_train_0000/ILSVRC2014_train_00000001": xml(
        (CAT, (1, 1, 5, 5), ""), (CAT, (2, 2, 9, 9), f"<subcategory>{TABBY}</subcategory>")
    ),
}
VAL = {
    "ILSVRC2012_val_00000001": xml((PERSON, (5, 6, 7, 8), "")),
    "ILSVRC2012_val_00000006": xml((PERSON, (9, 6, 7, 8), ""), (CAT, (0, 0, 9, 9), "")),
    "ILSVRC2013_val_00000003": None,
}


def make(root: Path, layout: str) -> Path:
    for image_id, text in IMAGES.items():
        if layout == "2013":
            year = "2014" if image_id.startswith("ILSVRC2014") else "2013"
            put(root, f"ILSVRC{year}_DET_train/{image_id}.JPEG", f"ILSVRC{year}_DET_bbox_train/{image_id}.xml", text)
        else:
            place = image_id if image_id.startswith("I") else f"ILSVRC2013_train/{image_id}"
            put(root, f"Data/DET/train/{place}.JPEG", f"Annotations/DET/train/{place}.xml", text, "CMYK")
    for image_id, val_text in VAL.items():
        base = ("ILSVRC2013_DET_val", "ILSVRC2013_DET_bbox_val")
        image, note = base if layout == "2013" else ("Data/DET/val", "Annotations/DET/val")
        put(root, f"{image}/{image_id}.JPEG", f"{note}/{image_id}.xml" if val_text else None, val_text or "")
    (root / "lists").mkdir()
    (root / "lists/train_pos_59.txt").write_text("".join(f"{image_id}\n" for image_id in IMAGES))
    (root / "lists/val.txt").write_text("".join(f"{image_id} {n}\n" for n, image_id in enumerate(VAL, 1)))
    (root / "lists/blacklist.txt").write_text(f"1 {PERSON}\n3 {CAT}\n1 {ACCORDION}\n")
    return root


@pytest.fixture(params=["2013", "2015"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return make(tmp_path / request.param, request.param)


def opened(root: Path, shared: Path, **fields: object) -> Det:
    devkit = shared / "data/ilsvrc_det"
    raw = {
        "kind": "det",
        "root": str(root),
        "layout": root.name,
        "splits": {"train": {"lists": "lists/train_pos_*.txt", "images": "train"}, "val": {"lists": "lists/val.txt"}},
        "synsets": str(devkit / "meta_det.mat"),
        "leaf_lists": f"{devkit}/det_lists/train_pos/train_pos_{{1,59}}.txt",
        **fields,
    }
    return DetDataset.model_validate(raw).open()


def keys(data: Det, split: str) -> list[str]:
    return [item.key for item in data.items(split, Contents())]


def annotation(data: Det, split: str, key: str) -> ImageAnnotation:
    return data.annotation(Place(split, "", key), *SIZE)


def labels(data: Det) -> dict[str, str]:
    return {item.key: item.label for items in items_of(data).values() for item in items}


def test_keys_boxes_and_leaves_of_both_layouts(root: Path, shared: Path) -> None:
    data = opened(root, shared)
    assert keys(data, "train") == mixed(IMAGES)
    assert keys(data, "val") == list(VAL)
    assert (len(data.categories(Contents())), data.names()[CAT]) == (200, "domestic cat")
    first, second = (annotation(data, "train", key) for key in IMAGES)
    assert [(t.category, t.subcategory, t.box) for t in first.objects] == [
        (CAT, TABBY, (0, 0, 40, 30)),
        (ACCORDION, ACCORDION, (1, 2, 10, 10)),
    ]
    assert [(t.category, t.subcategory) for t in second.objects] == [(CAT, None), (CAT, TABBY)]
    assert (first.index, first.ignored) == (None, ())


def test_the_200_and_the_499_way(root: Path, shared: Path) -> None:
    key = list(IMAGES)[1]
    plain = annotation(opened(root, shared, subcategories="none"), "train", key)
    assert [thing.subcategory for thing in plain.objects] == [None, None]
    leaves = annotation(opened(root, shared, subcategories="leaf-only"), "train", key)
    assert [(thing.subcategory, thing.box) for thing in leaves.objects] == [(TABBY, (2, 2, 10, 10))]


def test_an_image_without_annotation_has_no_objects(root: Path, shared: Path) -> None:
    found = annotation(opened(root, shared), "val", "ILSVRC2013_val_00000003")
    assert (found.width, found.height, found.objects, found.index) == (40, 30, (), 3)


def test_bad_boxes(root: Path, shared: Path) -> None:
    key = "ILSVRC2012_val_00000006"
    with pytest.raises(DataError, match=f"bad-box: {key}: {PERSON}"):
        annotation(opened(root, shared), "val", key)
    kept = annotation(opened(root, shared, bad_boxes="drop"), "val", key).objects
    assert [thing.category for thing in kept] == [CAT]


def test_the_blacklist_marks_or_leaves_out(root: Path, shared: Path) -> None:
    data = opened(root, shared, blacklist="lists/blacklist.txt")
    marked = ("ILSVRC2012_val_00000001", "ILSVRC2013_val_00000003")
    assert [annotation(data, "val", key).ignored for key in marked] == [(PERSON, ACCORDION), (CAT,)]
    left = opened(root, shared, blacklist="lists/blacklist.txt", blacklisted="leave-out")
    assert keys(left, "val") == ["ILSVRC2012_val_00000006"]
    plain, black = labels(opened(root, shared)), labels(data)
    assert {key for key in plain if plain[key] != black[key]} == set(marked)
    assert labels(left).items() <= plain.items()
    (root / "lists/blacklist.txt").write_text(f"1 {CAT}\n2 {CAT}\n3 {CAT}\n")
    with pytest.raises(ConfigError, match="split 'val' is empty"):
        keys(opened(root, shared, blacklist="lists/blacklist.txt", blacklisted="leave-out"), "val")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"2 {CAT}\n7 {CAT}\n9 {CAT}\n", "names the unknown image 7"),
        ("2 n99999999\n", "image 2 names the unknown category n99999999"),
        ("ILSVRC2012_val_00000001\n", "expected an image's number and a wnid, got 'ILSVRC2012_val_00000001'"),
    ],
)
def test_a_blacklist_of_unknowns(root: Path, shared: Path, text: str, message: str) -> None:
    (root / "lists/blacklist.txt").write_text(text)
    with pytest.raises(ConfigError, match=message):
        opened(root, shared, blacklist="lists/blacklist.txt").items("val", Contents())


def test_an_image_twice_in_a_list_but_not_in_two(root: Path, shared: Path) -> None:
    (root / "lists/train_pos_1.txt").write_text(f"{TABBY}/{TABBY}_1\n")
    assert len(keys(opened(root, shared), "train")) == 2
    (root / "lists/val.txt").write_text("ILSVRC2012_val_00000001 1\nILSVRC2012_val_00000001 2\n")
    with pytest.raises(ConfigError, match=r"val.txt lists 'ILSVRC2012_val_00000001' twice"):
        keys(opened(root, shared), "val")
    (root / "lists/val.txt").write_text("ILSVRC2012_val_00000001 1\nILSVRC2012_val_00000006 1\n")
    with pytest.raises(ConfigError, match="two images have the same number"):
        annotation(opened(root, shared), "val", "ILSVRC2012_val_00000001")


def test_a_layout_may_look_like_a_number(root: Path, shared: Path) -> None:
    assert items_of(opened(root, shared, layout=int(root.name))) == items_of(opened(root, shared))


def test_at_most_so_many_positives_a_category(root: Path, shared: Path) -> None:
    split = {"lists": "lists/train_pos_*.txt", "images": "train", "max_positives_per_category": 1}
    assert keys(opened(root, shared, splits={"train": split}), "train") == [next(iter(IMAGES))]


def test_lists_of_2015_hold_negatives_too(tmp_path: Path) -> None:
    (tmp_path / "train_1.txt").write_text("a 1\nb 0\nc -1\nd 1\n")
    assert read_ids(["train_1.txt"], str(tmp_path)) == ["a", "d"]
    (tmp_path / "train_2.txt").write_text("b 1\na 1\ne 1\n")
    assert read_ids(["train_{1,2}.txt"], str(tmp_path), 2) == ["a", "d", "b"]
    (tmp_path / "train_3.txt").write_text("c -1\n")
    with pytest.raises(ConfigError, match=r"train_3.txt lists no images"):
        read_ids(["train_*.txt"], str(tmp_path))


def test_another_layout_is_told(root: Path, shared: Path) -> None:
    other = "2015" if root.name == "2013" else "2013"
    with pytest.raises(
        ConfigError, match=r"split 'train': none of its images is there, the first would be .*JPEG; see layout"
    ):
        opened(root, shared, layout=other).items("train", Contents())
    for path in [*root.rglob("*val*.xml")]:
        path.unlink()
    with pytest.raises(ConfigError, match="split 'val': no image has an annotation"):
        opened(root, shared).items("val", Contents())


def test_halves_are_balanced_and_apart(tmp_path: Path, shared: Path) -> None:
    (tmp_path / "2015/lists").mkdir(parents=True)
    ids = [f"ILSVRC2012_val_{n:08d}" for n in range(20)]
    for n, image_id in enumerate(ids):
        category = (CAT, PERSON, ACCORDION, TABBY)[n % 3]
        note = f"Annotations/DET/val/{image_id}.xml"
        put(tmp_path / "2015", f"Data/DET/val/{image_id}.JPEG", note, xml((category, (0, 0, 9, 9), "")))
    (tmp_path / "2015/lists/val.txt").write_text("".join(f"{image_id} {n + 1}\n" for n, image_id in enumerate(ids)))
    splits = {f"val{half}": {"lists": "lists/val.txt", "half": half} for half in (1, 2)}

    def halves() -> Det:
        return opened(tmp_path / "2015", shared, splits=splits)

    first, second = (keys(halves(), split) for split in ("val1", "val2"))
    assert sorted(first + second) == ids
    assert len(first) == len(second) == 10
    cats = [sum(int(key[-2:]) % 3 == 0 for key in half) for half in (first, second)]
    assert abs(cats[0] - cats[1]) <= 1
    check_items(halves)
    contents = Contents()
    data = halves()
    data.items("val1", contents)
    data.items("val2", contents)
    assert contents.read_count == 40  # each image and each annotation once


def test_items_are_what_workers_read(root: Path, shared: Path) -> None:
    check_items(lambda: opened(root, shared))
    check_items(lambda: opened(root, shared, blacklist="lists/blacklist.txt", subcategories="none"))


def test_items_tell_content_not_place(root: Path, shared: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(root, tmp_path / "other" / root.name))
    assert items_of(opened(other, shared)) == items_of(opened(root, shared))
    plain = labels(opened(root, shared))
    more_leaves = {"leaf_lists": f"{shared}/data/ilsvrc_det/det_lists/train_pos/train_pos_*.txt"}
    for options in ({"first_pixel": 1}, {"bad_boxes": "drop"}, {"subcategories": "none"}, more_leaves):
        assert all(labels(opened(root, shared, **options))[key] != label for key, label in plain.items())


def test_each_change_changes_one_item_and_reads_one_file(root: Path, shared: Path) -> None:
    key = f"{TABBY}/{TABBY}_1"
    (note,), (image,) = ([*root.rglob(f"{TABBY}_1.{extension}")] for extension in ("xml", "JPEG"))
    other = xml((CAT, (0, 0, 39, 28), ""), (ACCORDION, (1, 2, 9, 9), ""))
    assert changes(lambda: opened(root, shared), lambda: note.write_text(other)) == ([], [key], 1)
    assert changes(lambda: opened(root, shared), note.unlink) == ([], [key], 0)
    same_size = image.read_bytes()[:-1] + b"x"
    assert changes(lambda: opened(root, shared), lambda: image.write_bytes(same_size)) == ([key], [], 1)


def test_the_real_images(shared: Path) -> None:
    devkit = shared / "data/ilsvrc_det"
    folder = shared / "data/ilsvrc_det_val50/VOCdevkit/DET50"
    val = {"lists": "ImageSets/Main/val.txt", "numbers": str(devkit / "det_lists/val.txt")}
    dataset = {
        **{"kind": "det", "root": str(folder), "layout": "voc", "splits": {"val": val}, "subcategories": "none"},
        **{"synsets": str(devkit / "meta_det.mat"), "blacklist": str(devkit / "det_validation_blacklist.txt")},
    }
    data = DetDataset.model_validate(dataset).open()
    records, reasons = read_all(data, "val")
    assert (len(records), reasons, sum(len(r.annotation.objects) for r in records)) == (50, {}, 189)
    assert (len(data.categories(Contents())), data.names()[CAT]) == (200, "domestic cat")
    numbers = dict(line.split() for line in (devkit / "det_lists/val.txt").read_text().splitlines())
    assert [record.annotation.index for record in records] == [int(numbers[record.key]) for record in records]
    black = [line.split() for line in (devkit / "det_validation_blacklist.txt").read_text().splitlines()]
    for record in records:
        assert record.annotation.ignored == tuple(w for n, w in black if int(n) == record.annotation.index)
    boxes = np.array([thing.box for record in records for thing in record.annotation.objects])
    assert boxes.min() == 0
