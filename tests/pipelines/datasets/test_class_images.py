"""Which images lie in class folders: the most of a class, what is skipped, and what is beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.datasets.class_images import ClassImages, class_of
from pipelines.datasets.keys import mixed
from pipelines.engine.store import LocalStore
from sppnet.errors import ConfigError
from tests.support.ingested import write_images

NAMES = ("cat/a", "cat/b", "cat/deep/c", "dog/a", "bird/a")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_images(tmp_path, *(f"train/{name}.png" for name in NAMES))
    (tmp_path / "train" / "notes.md").write_text("beside")
    (tmp_path / "train" / "cat" / "boxes.csv").write_text("")
    return tmp_path


def images_of(root: Path, **fields: object) -> ClassImages:
    return ClassImages(LocalStore(str(root)), ("train",), **fields)  # type: ignore[arg-type]


def test_keys_are_in_the_order_of_their_hashes(root: Path) -> None:
    found = images_of(root).of("train")
    assert list(found) == mixed(NAMES)
    assert [file.place for file in found["cat/deep/c"]] == ["train/cat/deep/c.png"]
    assert {class_of(key) for key in found} == images_of(root).classes == {"cat", "dog", "bird"}


def test_at_most_so_many_of_a_class_are_those_whose_hashes_come_first(root: Path) -> None:
    found = images_of(root, max_per_class=1, skip=("bird",)).of("train")
    first = {name: next(key for key in mixed(NAMES) if class_of(key) == name) for name in ("cat", "dog")}
    assert set(found) == set(first.values())


def test_what_is_neither_an_image_of_a_class_nor_a_table_is_left_out(root: Path) -> None:
    images = images_of(root)
    assert images.left_out("train", ()).counts == {".md": 1, ".csv": 1}
    assert images.left_out("train", ("train/cat/boxes.csv",)).counts == {".md": 1}


def test_class_folders_at_the_root(root: Path) -> None:
    flat = images_of(root / "train", flat=True)
    assert flat.prefix("train") == ""
    assert set(flat.of("train")) == set(NAMES)


def test_a_class_folder_without_images_is_named(root: Path) -> None:
    (root / "train" / "cow").mkdir()
    with pytest.raises(ConfigError, match=r"train/cow has no images; dataset.skip leaves it out"):
        images_of(root).of("train")
    assert len(images_of(root, skip=("cow",)).of("train")) == 5
