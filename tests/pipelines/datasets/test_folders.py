"""Class folders: keys, classes, boxes and what is refused."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.artifacts.annotations import ObjectAnnotation
from pipelines.datasets.contents import Contents
from pipelines.datasets.folders import ClassFolders, FoldersDataset
from pipelines.datasets.protocol import Place
from sppnet.errors import ConfigError, DataError
from tests.support.data_sets import changes, check_items, items_of, read_all


def draw(path: Path, size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), 90, np.uint8)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split, classes in {"train": {"cat": 3, "dog": 2}, "val": {"cat": 1, "dog": 1}}.items():
        for name, count in classes.items():
            for number in range(count):
                draw(tmp_path / split / name / f"{name}_{split}_{number}.png")
    return tmp_path


def opened(root: Path, **fields: object) -> ClassFolders:
    return FoldersDataset.model_validate({"kind": "folders", "root": str(root), **fields}).open()


def keys(data: ClassFolders, split: str) -> list[str]:
    return [place.key for place in data.places(split)]


def objects(data: ClassFolders, split: str, key: str) -> tuple[ObjectAnnotation, ...]:
    return data.annotation(Place(split, "", key), 40, 30).objects


def test_splits_and_classes(root: Path) -> None:
    data = opened(root)
    assert data.splits == ("train", "val")
    assert data.categories(Contents()) == ("cat", "dog")
    assert sorted(keys(data, "train")) == [f"cat/cat_train_{i}" for i in range(3)] + [
        f"dog/dog_train_{i}" for i in (0, 1)
    ]
    with pytest.raises(ConfigError, match="no split 'test' in the data set; it has: train, val"):
        data.items("test", Contents())


def test_an_image_shows_its_class_all_over(root: Path) -> None:
    data = opened(root)
    image = data.image(Place("train", "", "dog/dog_train_1"))
    assert image.data == (root / "train/dog/dog_train_1.png").read_bytes()
    (thing,) = objects(data, "train", "dog/dog_train_1")
    assert (image.extension, thing.category, thing.box, thing.subcategory) == ("png", "dog", (0, 0, 40, 30), None)


def test_shards_mix_the_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for number in range(32):
            (tmp_path / "all" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "all" / name / f"{number}.jpg").touch()
    order = [item.key for item in opened(tmp_path, splits=["all"]).items("all", Contents())]
    counts = [sum(key.startswith("cat") for key in order[start : start + 16]) for start in range(0, 64, 16)]
    assert sum(counts) == 32
    assert all(3 <= count <= 13 for count in counts)


def test_at_most_so_many_of_a_class(root: Path) -> None:
    whole = keys(opened(root), "train")
    data = opened(root, max_per_class=2)
    found = keys(data, "train")
    assert Counter(key.split("/")[0] for key in found) == {"cat": 2, "dog": 2}
    assert found == [key for key in whole if key in found]  # the first of each class, in the order of all
    assert [key for key in whole if key.startswith("cat")][:2] == [key for key in found if key.startswith("cat")]
    assert len(keys(data, "val")) == 2
    check_items(lambda: opened(root, max_per_class=2))


def test_flat_folders_are_one_split(root: Path) -> None:
    data = opened(root / "train", flat=True)
    assert data.splits == ("all",)
    assert len(keys(data, "all")) == 5
    assert opened(root / "train", flat=True, splits=["caltech"]).splits == ("caltech",)
    assert data.annotation(Place("all", "", "cat/cat_train_0"), 40, 30).width == 40
    check_items(lambda: opened(root / "train", flat=True))


def test_lists_of_splits(root: Path) -> None:
    draw(root / "train" / "sea lion" / "a b.c.jpg")
    (root / "train" / "one.txt").write_text("dog/dog_train_1.png\nsea lion/a b.c.jpg\n")
    (root / "train" / "two.txt").write_text("cat/cat_train_0\ncat/gone\n")
    data = opened(root / "train", split_files={"one": "one.txt", "two": "two.txt"})
    assert data.splits == ("one", "two")
    assert sorted(keys(data, "one")) == ["dog/dog_train_1", "sea lion/a b%2Ec"]
    assert objects(data, "one", "sea lion/a b%2Ec")[0].category == "sea lion"
    with pytest.raises(DataError, match=r"missing-image: cat/gone"):
        data.image(Place("two", "", "cat/gone"))
    check_items(lambda: opened(root / "train", split_files={"one": "one.txt", "two": "two.txt"}))
    (root / "train" / "two.txt").write_text("cat/cat_train_0\ncat/cat_train_0.png\n")
    with pytest.raises(ConfigError, match=r"two.txt lists 'cat/cat_train_0' twice"):
        keys(opened(root / "train", split_files={"two": "two.txt"}), "two")


def test_images_deeper_in_a_class_folder(tmp_path: Path) -> None:
    draw(tmp_path / "train/n01/images/n01_0.JPEG")
    draw(tmp_path / "train/n02/images/n02_0.JPEG")
    data = opened(tmp_path, splits=["train"])
    assert set(keys(data, "train")) == {"n01/images/n01_0", "n02/images/n02_0"}
    assert objects(data, "train", "n01/images/n01_0")[0].category == "n01"


def test_a_class_without_images_is_named(root: Path) -> None:
    (root / "val" / "emu").mkdir()
    with pytest.raises(ConfigError, match=r"class folder .*/val/emu has no images"):
        keys(opened(root), "val")
    (root / "val" / "emu" / "notes.txt").write_text("none yet")
    with pytest.raises(ConfigError, match=r"class folder .*/val/emu has no images"):
        keys(opened(root), "val")
    assert len(keys(opened(root, skip=["emu"]), "val")) == 2
    with pytest.raises(ConfigError, match=r"dataset\.categories: 'gnu' has no images in .*; there are: cat, dog"):
        opened(root, skip=["emu"], categories=["cat", "dog", "gnu"]).categories(Contents())


def test_a_missing_root_and_two_files_of_one_key(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"split 'test' has no class folders with images: .*/test"):
        keys(opened(root, splits=["test"]), "test")
    draw(root / "val" / "cat" / "cat_val_0.jpg")
    assert len(keys(opened(root), "val")) == 2
    assert read_all(opened(root), "val")[1] == {"cat/cat_val_0": "several-images"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"split_files": {"a": "a.txt"}, "flat": True}, "leave out splits and flat"),
        ({"flat": True, "splits": ["a", "b"]}, "flat folders hold one split"),
        ({"classes": "c.csv", "categories": ["cat"]}, "leave out categories"),
    ],
)
def test_fields_that_exclude_one_another(root: Path, fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        opened(root, **fields)


def write_tables(root: Path) -> dict[str, object]:
    (root / "classes.csv").write_text("wnid,det_category_wnid,det_category\ncat,n9,pet\ndog,n9,pet\n", encoding="utf-8")
    rows = "train/dog/dog_train_0.png,0,0,39,29\ntrain/dog/dog_train_0.png,5,6,7,8\ntrain/cat/cat_train_0.png,3,4,3,9\n"
    (root / "boxes.csv").write_text("file,xmin,ymin,xmax,ymax\n" + rows)
    return {"boxes": "boxes.csv", "classes": "classes.csv"}


def test_tables_of_classes_and_boxes(root: Path) -> None:
    tables = write_tables(root)
    data = opened(root, **tables)
    assert (data.categories(Contents()), data.names()) == (("n9",), {"n9": "pet"})
    things = objects(data, "train", "dog/dog_train_0")
    assert [(t.category, t.subcategory, t.box) for t in things] == [
        ("n9", "dog", (0, 0, 40, 30)),
        ("n9", "dog", (5, 6, 8, 9)),
    ]
    one_based = objects(opened(root, **tables, first_pixel=1), "train", "dog/dog_train_0")
    assert one_based[1].box == (4, 5, 7, 8)
    check_items(lambda: opened(root, **tables))


def test_boxes_that_cannot_be_used(root: Path) -> None:
    tables = write_tables(root)
    for key, reason in (("cat/cat_train_0", "bad-box"), ("cat/cat_train_1", "no-box")):
        with pytest.raises(DataError) as caught:
            objects(opened(root, **tables), "train", key)
        assert caught.value.reason == reason
        whole = objects(opened(root, **tables, bad_boxes="whole-image"), "train", key)
        assert [thing.box for thing in whole] == [(0, 0, 40, 30)]
    draw(root / "train/eel/a.png")
    with pytest.raises(DataError, match=r"unknown-category: eel/a: the table of classes has no 'eel'"):
        objects(opened(root, **tables), "train", "eel/a")
    check_items(lambda: opened(root, **tables))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classes.csv", "wnid,words\n", r"classes.csv has no column 'det_category_wnid'; it has: wnid, words"),
        ("classes.csv", "wnid,det_category_wnid,det_category\n", r"classes.csv holds no classes"),
        ("classes.csv", "wnid,det_category_wnid,det_category\na,b,c\na,b,c\n", r"names the folder 'a' twice"),
        ("classes.csv", "wnid,det_category_wnid,det_category\na,b\n", r"line 2 is cut short"),
        ("boxes.csv", "file,xmin,ymin,xmax,ymax\na,1,2,3,x\n", r"boxes.csv: line 2: .*'x'"),
    ],
)
def test_bad_tables(root: Path, name: str, text: str, message: str) -> None:
    tables = write_tables(root)
    (root / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        objects(opened(root, **tables), "train", "dog/dog_train_0")


def labels(data: ClassFolders) -> dict[str, str]:
    return {item.key: item.label for items in items_of(data).values() for item in items}


def test_items_tell_content_not_place(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    tables = write_tables(root)
    other = Path(shutil.copytree(root, tmp_path_factory.mktemp("other") / "data"))
    first = opened(root, **tables)
    assert items_of(opened(other, **tables)) == items_of(first)
    assert len(set(labels(opened(root)).values())) == 2  # all that is said of an image is its class
    one_based = labels(opened(root, **tables, first_pixel=1))
    assert all(one_based[key] != label for key, label in labels(first).items())
    assert labels(opened(root, first_pixel=1, bad_boxes="whole-image")) == labels(opened(root))  # there are no boxes


def test_each_change_changes_its_items(root: Path) -> None:
    tables = write_tables(root)
    boxes, classes, image = root / "boxes.csv", root / "classes.csv", root / "train/dog/dog_train_1.png"

    def replace(path: Path, old: bytes, new: bytes) -> None:
        path.write_bytes(path.read_bytes().replace(old, new))

    def changed(change: Callable[[], None]) -> tuple[list[str], list[str], int]:
        return changes(lambda: opened(root, **tables), change)

    assert changed(lambda: replace(boxes, b"5,6,7,8", b"5,6,7,9")) == ([], ["dog/dog_train_0"], 0)
    assert changed(lambda: replace(boxes, b"3,4,3,9", b"3,4,9,9")) == ([], ["cat/cat_train_0"], 0)
    images, relabelled, _ = changed(lambda: replace(classes, b"dog,n9", b"dog,n8"))
    assert (images, sorted(relabelled)) == ([], ["dog/dog_train_0", "dog/dog_train_1", "dog/dog_val_0"])
    same_size = image.read_bytes()[:-1] + b"x"
    assert changed(lambda: image.write_bytes(same_size)) == (["dog/dog_train_1"], [], 1)


def test_a_box_that_is_no_number_has_a_label(root: Path) -> None:
    tables = write_tables(root)
    (root / "boxes.csv").write_text("file,xmin,ymin,xmax,ymax\ntrain/dog/dog_train_0.png,nan,0,39,29\n")
    check_items(lambda: opened(root, **tables))
    with pytest.raises(DataError, match="bad-box"):
        objects(opened(root, **tables), "train", "dog/dog_train_0")


def test_the_real_tiny_imagenet(shared: Path) -> None:
    folder = shared / "data/pretrain/tinyimagenet_det"
    data = opened(folder, boxes=["boxes_train.csv", "boxes_val.csv"], classes="classes.csv")
    train, val = keys(data, "train"), keys(data, "val")
    categories = data.categories(Contents())
    assert (len(train), len(val), len(categories)) == (9130, 2075, 64)
    reasons = []
    for key in train[:400]:
        try:
            (thing,) = data.annotation(Place("train", "", key), 64, 64).checked(frozenset(categories)).objects
        except DataError as error:
            reasons.append(error.reason)
            continue
        assert thing.subcategory == key.split("/")[0]
        assert data.names()[thing.category]
    assert 1 <= len(reasons) <= 6
    assert set(reasons) == {"bad-box"}


def test_class_folders_are_read(root: Path) -> None:
    (root / "train" / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff not much")
    draw(root / "train" / "cat" / "small.png", (15, 40))
    draw(root / "train" / "eel" / "eel_0.png")
    data = opened(root, categories=["dog", "cat"])
    records, reasons = read_all(data, "train")
    assert reasons == {"cat/broken": "truncated", "cat/small": "too-small", "eel/eel_0": "unknown-category"}
    assert (data.categories(Contents()), data.count("train"), data.count("val")) == (("dog", "cat"), 8, 2)
    assert sorted(record.key for record in records) == [f"cat/cat_train_{i}" for i in range(3)] + [
        f"dog/dog_train_{i}" for i in range(2)
    ]
