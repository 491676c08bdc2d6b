"""Files below a root: found by extension, listed with stamps, hidden ones left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.datasets.folder_files import IMAGE_EXTENSIONS, Folder, image_among, is_image, remembered
from pipelines.datasets.protocol import ImageFile
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    for name in ("a/x.png", "a/x.jpg", "a/.x.jpg", "a/.hidden/y.jpg", "a/notes.txt", "b/z.TIF"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return Folder(open_store(str(tmp_path)))


def test_files_are_listed_without_hidden_ones(folder: Folder) -> None:
    assert list(folder.files("a")) == ["a/notes.txt", "a/x.jpg", "a/x.png"]
    assert list(folder.images()) == ["a/x.jpg", "a/x.png", "b/z.TIF"]
    assert folder.files("none") == {}
    file = folder.files("a")["a/x.jpg"]
    assert (file.place, file.read()) == ("a/x.jpg", b"a/x.jpg")


def test_listing_and_reading_find_the_same_image(folder: Folder) -> None:
    images = folder.images()
    for stem in ("a/x", "b/z"):
        file = image_among(images, stem)
        assert file is not None
        assert folder.image(stem, "key") == ImageFile(file.read(), file.place.rpartition(".")[2].lower())
    assert image_among(images, "a/y") is None
    with pytest.raises(DataError, match=r"missing-image: key: none of a/y\.\(jpg"):
        folder.image("a/y", "key")


def test_images_are_known_by_their_extension() -> None:
    assert all(is_image(f"a/b.{extension}") for extension in IMAGE_EXTENSIONS)
    assert not any(map(is_image, ("a/b.txt", "a/jpg", "a.jpg/b", "jpg")))


def test_what_is_missing_is_told_with_its_place(folder: Folder, tmp_path: Path) -> None:
    assert folder.find("none.txt") is None
    with pytest.raises(ConfigError, match=rf"no list: {tmp_path}/none.txt does not exist"):
        folder.need("none.txt", "list")
    file = folder.files("a")["a/x.jpg"]
    (tmp_path / "a/x.jpg").unlink()
    with pytest.raises(ConfigError, match=rf"{tmp_path}/a/x.jpg is gone since it was listed"):
        file.read()


def test_what_was_looked_at_is_what_is_read(folder: Folder, tmp_path: Path) -> None:
    find = remembered(folder.find)
    assert find("a/notes.txt") == b"a/notes.txt"
    (tmp_path / "a/notes.txt").write_bytes(b"other")
    assert find("a/notes.txt") == b"a/notes.txt"
    assert remembered(folder.find)("a/notes.txt") == b"other"
