"""Plain images: every image below a folder is a key without objects."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.datasets import tar_listing
from pipelines.datasets.contents import Contents
from pipelines.datasets.plain import ImagesDataset, PlainImages
from pipelines.datasets.protocol import ImageFile, Place
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError, DataError
from tests.support.data_sets import changes, check_items, items_of, read_all
from tests.support.made_tars import jpeg, write_tar


def opened(root: Path | str, **fields: object) -> PlainImages:
    return ImagesDataset.model_validate({"kind": "images", "root": str(root), **fields}).open()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("b.png", "holiday.2024/a.b.jpg", "holiday.2024/deep/c.webp", ".thumbs/b.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path)
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_every_image_is_a_key_without_objects(root: Path) -> None:
    data = opened(root, split="mine")
    assert data.splits == ("mine",)
    assert [place.key for place in data.places("mine")] == ["b", "holiday%2E2024/a%2Eb", "holiday%2E2024/deep/c"]
    records, reasons = read_all(data, "mine")
    assert (len(records), reasons) == (3, {})
    assert records[1].data == (root / "holiday.2024/a.b.jpg").read_bytes()
    annotation = records[1].annotation
    assert (records[1].extension, annotation.width, annotation.height, annotation.objects) == ("jpg", 30, 20, ())


def test_items_are_what_workers_read(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    check_items(lambda: opened(root))
    other = Path(shutil.copytree(root, tmp_path_factory.mktemp("other") / "data"))
    assert items_of(opened(other)) == items_of(opened(root))
    path = root / "holiday.2024/a.b.jpg"
    same_size = path.read_bytes()[:-1] + b"x"
    assert changes(lambda: opened(root), lambda: path.write_bytes(same_size)) == (["holiday%2E2024/a%2Eb"], [], 1)


def test_what_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match="missing-image: gone"):
        opened(root).image(Place("all", "", "gone"))
    with pytest.raises(ConfigError, match="no split 'train' in the data set; it has: all"):
        opened(root).items("train", Contents())
    (root / "b.png").write_bytes(b"text")
    assert read_all(opened(root), "all")[1] == {"b": "not-an-image"}
    with pytest.raises(ConfigError, match=r".*/nowhere does not exist"):
        opened(root / "nowhere").items("all", Contents())


LABELLED = [
    *[("a.jpg", jpeg()), ("a.cls", b"no number"), ("b.jpg", jpeg(1)), ("b.json", b"{"), ("b.txt", b"cat")],
    *[
        ("a.json", b"[" * 100_000),
        ("c.png", jpeg(2)),
        ("c.json", b'{"objects": 3}'),
        ("c.seg.png", jpeg(9)),
        ("labels.json", b"{}"),
    ],
    *[("two.jpg", jpeg()), ("two.png", jpeg())],
]


def test_labels_in_tars_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken ones too; members without an image are no sample, two images one too many; a tar without any is told."""
    monkeypatch.setattr(tar_listing, "understand", None)  # what reads them
    write_tar(tmp_path / "t-0.tar", *LABELLED)
    write_tar(tmp_path / "t-1.tar", ("d.jpg", jpeg(3)), ("d.cls", b"7"))
    write_tar(tmp_path / "t-2.tar", ("readme.txt", b"no images"))
    data = opened(tmp_path)
    keys = [(item.key, item.group) for item in data.items("all", Contents())]
    assert keys == [
        *[("a", "t-0.tar"), ("b", "t-0.tar"), ("c", "t-0.tar"), ("two", "t-0.tar"), ("d", "t-1.tar")],
        ("t-2%2Etar", "t-2.tar"),
    ]
    records, reasons = read_all(data, "all")
    assert [(r.key, r.extension, r.annotation.objects) for r in records] == [
        *[("a", "jpg", ()), ("b", "jpg", ()), ("c", "png", ()), ("d", "jpg", ())]
    ]
    assert reasons == {"two": "several-images", "t-2%2Etar": "shard-empty"}
    assert data.categories(Contents()) == ()
    check_items(lambda: opened(tmp_path))
    labels = [("d.jpg", jpeg(3)), ("d.json", b'{"objects": []}')]
    assert changes(lambda: opened(tmp_path), lambda: write_tar(tmp_path / "t-1.tar", *labels)) == ([], [], 1)


def test_folders_tars_and_lists_together(root: Path) -> None:
    write_tar(root / "t.tar", ("s.jpg", jpeg()))
    (root / "list.txt").write_text("holiday.2024/deep/c.webp\nt.tar\n")
    data = opened(root, paths=["b.png", "@list.txt"])
    assert [(p.key, p.group) for p in data.places("all")] == [
        *[("b", ""), ("holiday%2E2024/deep/c", ""), ("s", "t.tar")]
    ]
    assert data.count("all") == 3
    check_items(lambda: opened(root, paths=["b.png", "@list.txt"]))


def test_files_of_one_name_in_two_folders(root: Path) -> None:
    for folder in "xy":
        (root / folder).mkdir()
        (root / folder / "b.png").write_bytes((root / "b.png").read_bytes())
    data = opened(root, paths=["x", "y/*.png"])
    assert [place.key for place in data.places("all")] == ["x/b", "y/b"]
    check_items(lambda: opened(root, paths=["x", "y/*.png"]))


def test_images_that_have_no_folder_in_common(root: Path) -> None:
    open_store("memory://plain-far/away").put("b.jpg", jpeg())
    paths = [str(root / "b.png"), "memory://plain-far/away"]
    data = opened("", paths=paths)
    keys = [place.key for place in data.places("all")]
    assert keys == [f"file{root}/b".replace(".", "%2E"), "memory/plain-far/away/b"]
    assert data.image(Place("all", "", keys[0])) == ImageFile((root / "b.png").read_bytes(), "png")
    check_items(lambda: opened("", paths=paths))


def test_a_key_that_comes_twice_comes_after_its_tar(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", ("x.jpg", jpeg()))
    write_tar(tmp_path / "b.tar", ("x.jpg", jpeg(1)), ("y.jpg", jpeg(2)))
    write_tar(tmp_path / "c.tar", ("z.jpg", jpeg(3)))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "z.jpg").write_bytes(jpeg(4))
    data = opened(tmp_path, paths=["b", "a.tar", "b.tar", "c.tar"])
    found = {place.key: data.image(place).data for place in data.places("all")}
    grey = ("b/z", "a%2Etar/x", "b%2Etar/x", "b%2Etar/y", "z")
    assert found == dict(zip(grey, map(jpeg, (4, 90, 1, 2, 3)), strict=True))
    check_items(lambda: opened(tmp_path, paths=["b", "a.tar", "b.tar", "c.tar"]))


def test_a_tar_that_is_none_is_set_aside_by_its_name(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", ("x.jpg", jpeg()))
    (tmp_path / "b.TAR").write_bytes(b"no tar")
    (tmp_path / "c.tgz").write_bytes(b"")
    records, reasons = read_all(opened(tmp_path), "all")
    assert [record.key for record in records] == ["x"]
    assert reasons == {"b%2ETAR": "shard-broken", "c%2Etgz": "shard-empty"}
    check_items(lambda: opened(tmp_path))
    with pytest.raises(ValueError, match="give root, or paths"):
        opened("")


def test_one_name_with_two_extensions_is_two_images(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "deep/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(jpeg(len(name)))
    records, reasons = read_all(opened(tmp_path), "all")
    assert {record.key: record.data for record in records} == {
        "a%2Ejpg": jpeg(5),
        "a%2Epng": jpeg(5),
        "deep/b": jpeg(10),
    }
    assert reasons == {}
    check_items(lambda: opened(tmp_path))
    (tmp_path / "a.jpg.png").write_bytes(jpeg(7))  # whose key is a%2Ejpg by rights
    assert read_all(opened(tmp_path), "all")[1] == {"a%2Ejpg": "several-images"}
