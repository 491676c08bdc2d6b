from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.datasets.contents import Contents
from pipelines.datasets.protocol import ImageFile, Place
from pipelines.datasets.voc import VOC_CATEGORIES, VocDataset, VocFolder
from pipelines.engine.store import open_store
from sppnet.errors import ArtifactError, ConfigError, DataError
from tests.support.data_sets import changes, check_items, items_of, read_all
from tests.support.voc_folder import cup_xml as xml


@dataclass
class Named:
    name: str
    stamp: str
    size: int
    trouble: str = ""


class Folder:
    """A reader of a local folder that counts its requests."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = "somewhere"
        self.reads: list[str] = []
        self.lists: list[str] = []

    def read(self, name: str, most: int | None = None) -> bytes:
        self.reads.append(name)
        if not (self.root / name).is_file():
            raise ArtifactError(f"{name} does not exist")
        return (self.root / name).read_bytes()

    def survey(self, prefix: str = "") -> list[Named]:
        self.lists.append(prefix)
        files = sorted(p for p in (self.root / prefix).rglob("*") if p.is_file())
        return [Named(p.relative_to(self.root).as_posix(), str(p.stat().st_mtime_ns), p.stat().st_size) for p in files]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / name).mkdir(parents=True)
    for key, extension in (("a", "jpg"), ("b", "JPEG"), ("c", "png")):
        (tmp_path / "JPEGImages" / f"{key}.{extension}").write_bytes(f"bytes of {key}".encode())
        (tmp_path / "Annotations" / f"{key}.xml").write_bytes(xml((1, 1, 10, 20)))
    (tmp_path / "Annotations" / "c.xml").write_bytes(xml())
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\nb\n\n")
    (tmp_path / "ImageSets/Main/cup_val.txt").write_text("c -1\na  1\n")
    return tmp_path


def keys(folder: Path, split: str) -> list[str]:
    return [place.key for place in VocFolder(Folder(folder)).places(split)]


def test_split(folder: Path) -> None:
    assert keys(folder, "train") == ["a", "b"]
    assert keys(folder, "cup_val") == ["c", "a"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (None, "does not exist"),
        ("\n \n", "empty"),
        ("a\nb\na\n", "'a' twice"),
        ("a\na.jpg\n", "'a' twice"),
        ("\0", "NUL"),
    ],
)
def test_bad_splits_name_the_path(folder: Path, text: str | None, word: str) -> None:
    if text is not None:
        (folder / "ImageSets/Main/test.txt").write_text(text)
    with pytest.raises(ConfigError, match=word) as caught:
        VocFolder(Folder(folder)).items("test", Contents())
    assert "somewhere/ImageSets/Main/test.txt" in str(caught.value)


def test_an_image_is_found_by_any_extension(folder: Path) -> None:
    voc = VocFolder(Folder(folder))
    assert voc.image(Place("train", "", "a")) == ImageFile(b"bytes of a", "jpg")
    assert [voc.image(Place("train", "", key)).extension for key in "abc"] == ["jpg", "jpeg", "png"]
    annotation = voc.annotation(Place("train", "", "a"), 1, 2)
    assert (annotation.objects[0].box, annotation.width, annotation.height) == ((0, 0, 10, 20), 100, 80)
    assert voc.annotation(Place("train", "", "c"), 1, 2).objects == ()


def test_a_jpg_costs_a_worker_two_reads_and_no_listing(folder: Path) -> None:
    reader, place = Folder(folder), Place("train", "", "a")
    voc = VocFolder(reader)
    voc.image(place)
    voc.label(place)
    voc.annotation(place, 100, 80)
    assert reader.reads == ["JPEGImages/a.jpg", "Annotations/a.xml"]
    assert reader.lists == []


def test_missing_files(folder: Path) -> None:
    place = Place("train", "", "a")
    (folder / "JPEGImages/a.jpg").unlink()
    with pytest.raises(DataError, match="missing-image: a"):
        VocFolder(Folder(folder)).image(place)
    (folder / "Annotations/a.xml").unlink()
    with pytest.raises(DataError, match="missing-annotation: a"):
        VocFolder(Folder(folder)).annotation(place, 1, 1)
    check_items(lambda: opened(folder))


def test_a_list_leads_nowhere_outside_the_root(folder: Path) -> None:
    (folder / "ImageSets/Main/train.txt").write_text("../../secret\na\n")
    (folder.parent / "secret.xml").write_bytes(xml((1, 1, 2, 2)))
    (folder.parent / "secret.jpg").write_bytes(b"x")
    voc = opened(folder, splits=["train"])
    assert [place.key for place in voc.places("train")] == ["%2E%2E/%2E%2E/secret", "a"]
    assert read_all(voc, "train")[1]["%2E%2E/%2E%2E/secret"] == "missing-image"
    check_items(lambda: opened(folder, splits=["train"]))


def test_what_is_missing_of_the_layout_is_told_at_once(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"^dataset.root: no split 'trian': .*; did you mean 'train'\?"):
        opened(folder).count("trian")
    shutil.rmtree(folder / "JPEGImages")
    with pytest.raises(ConfigError, match=r"^dataset.root: no images in .*/JPEGImages$"):
        opened(folder).count("train")


def opened(folder: Path, **fields: object) -> VocFolder:
    return VocDataset.model_validate(
        {"root": str(folder), "splits": ["train", "cup_val"], "categories": ["cup"], **fields}
    ).open()


def test_items_are_what_workers_read(folder: Path) -> None:
    check_items(lambda: opened(folder))


def test_items_tell_content_not_place(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Path(shutil.copytree(folder, tmp_path_factory.mktemp("other") / "data"))
    assert items_of(opened(other)) == items_of(opened(folder))
    train = items_of(opened(folder))["train"]
    zero = items_of(opened(folder, first_pixel=0))["train"]
    assert [item.image for item in zero] == [item.image for item in train]
    assert all(a.label != b.label for a, b in zip(zero, train, strict=True))


def test_each_change_changes_one_item_and_reads_one_file(folder: Path) -> None:
    image, note = folder / "JPEGImages/b.JPEG", folder / "Annotations/b.xml"
    assert changes(lambda: opened(folder), lambda: image.write_bytes(b"BYTES of b")) == (["b"], [], 1)  # of equal size
    assert changes(lambda: opened(folder), lambda: note.write_bytes(xml((1, 1, 10, 21)))) == ([], ["b"], 1)
    assert changes(lambda: opened(folder), note.unlink) == ([], ["b"], 0)
    assert changes(lambda: opened(folder), image.unlink) == (["b"], [], 0)
    assert changes(lambda: opened(folder), lambda: note.write_bytes(xml())) == ([], ["b"], 1)


def test_a_look_lists_each_folder_once(folder: Path) -> None:
    reader, contents = Folder(folder), Contents()
    voc = VocFolder(reader)
    voc.items("train", contents)
    voc.items("cup_val", contents)
    assert reader.lists == ["JPEGImages", "Annotations"]
    again = Folder(folder)
    known = Contents.decode(contents.encode(), "here")
    voc = VocFolder(again)
    voc.items("train", known)
    voc.items("cup_val", known)
    assert again.reads == ["ImageSets/Main/train.txt", "ImageSets/Main/cup_val.txt"]


@pytest.mark.s3
def test_an_object_store_gives_the_same_items(folder: Path, s3: str) -> None:
    store = open_store(s3)
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        store.put(f"voc/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def there() -> VocFolder:
        return VocDataset(root=f"{s3}/voc", splits=("train", "cup_val"), categories=("cup",)).open()

    assert items_of(there()) == items_of(opened(folder))
    check_items(there)
    other = xml((1, 1, 10, 21))
    assert changes(there, lambda: store.put("voc/Annotations/b.xml", other)) == ([], ["b"], 1)


def test_categories(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match=r"^dataset\.categories: the annotations in .* name cup and none of VOC's"):
        VocFolder(Folder(folder)).categories(Contents())
    (folder / "Annotations/b.xml").write_bytes(xml((1, 1, 2, 2)).replace(b"cup", b"cat"))
    assert VocFolder(Folder(folder)).categories(Contents()) == VOC_CATEGORIES
    assert len(set(VOC_CATEGORIES)) == 20
    (folder / "categories.txt").write_text("cup\nfish\n")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert VocFolder(Folder(folder)).categories(Contents()) == ("cup", "fish")
    (told,) = caplog.messages
    assert told.startswith("dataset.categories: annotations in somewhere/Annotations name 'cat', which is none of ")
    assert told.endswith("; there are: cup, fish; images that show it are set aside")
    with pytest.raises(
        ConfigError, match=r"^dataset\.categories: the annotations in .* name cup, cat and none of them"
    ):
        VocFolder(Folder(folder), categories=("catt",)).categories(Contents())
    for text in ("", "cup\nfish\ncup\n"):
        (folder / "categories.txt").write_text(text)
        with pytest.raises(ConfigError, match=r"somewhere/categories\.txt"):
            VocFolder(Folder(folder)).categories(Contents())


def test_reads_the_real_voc2007(shared: Path) -> None:
    voc = VocFolder(Folder(shared / "data/voc07/VOCdevkit/VOC2007"))
    assert voc.categories(Contents()) == VOC_CATEGORIES
    assert {split: voc.count(split) for split in ("train", "val")} == {"train": 482, "val": 460}
    found = [read_all(voc, split) for split in ("train", "val")]
    assert [reasons for _, reasons in found] == [{}, {}]
    objects = [thing for records, _ in found for record in records for thing in record.annotation.objects]
    assert len(objects) == 2689
    assert sum(thing.difficult for thing in objects) == 566
