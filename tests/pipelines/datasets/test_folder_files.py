"""Files below a root: found by extension, listed with stamps, hidden ones left out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.datasets.folder_files import Folder, only_one, remembered
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


def test_what_was_listed_is_read(folder: Folder) -> None:
    assert folder.image("b/z", "key", ("b/z.TIF",)) == ImageFile(b"b/z.TIF", "tif")
    assert folder.image("a/x", "key", ("a/x.gone",)) == ImageFile(b"a/x.jpg", "jpg")  # what took its place
    assert folder.image("a/x", "key") == ImageFile(b"a/x.jpg", "jpg")
    for files in (None, ()):
        with pytest.raises(DataError, match=r"missing-image: key: no image of a/y$"):
            folder.image("a/y", "key", files)
    with pytest.raises(DataError, match=r"missing-image: key: a/y.jpg is not there$"):
        folder.image("a/y", "key", ("a/y.jpg",))
    with pytest.raises(DataError, match=r"several-images: key: a/x.jpg and a/x.png have one name; rename or remove"):
        folder.image("a/x", "key", ("a/x.jpg", "a/x.png"))


def test_what_cant_be_read_is_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "gone.jpg").symlink_to("/nowhere.jpg")
    (tmp_path / "linked").symlink_to("/nowhere")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).write_bytes(b"x")
    for name in (".hidden", "notes.TXT", "README"):
        (tmp_path / name).write_bytes(b"x")
    folder = Folder(open_store(str(tmp_path)))
    found = folder.listing()
    troubles = {name: file.trouble for name, file in found.files.items() if file.trouble}
    assert troubles == {
        "gone.jpg": "a link to /nowhere.jpg, which is not there",
        "caf\\xe9.jpg": "its name is not UTF-8",
    }
    assert [only_one((file,)) for file in found.files.values() if file.trouble] == [None, None]
    with pytest.raises(DataError, match=r"dangling-link: .*/gone.jpg is a link to /nowhere.jpg, which is not there"):
        folder.image("gone", "key", ("gone.jpg",))
    with pytest.raises(DataError, match=r"unreadable: key: caf\\xe9.jpg: its name is not UTF-8; rename it"):
        folder.image("caf", "key", ("caf\\xe9.jpg",))
    left_out = found.left_out()
    assert left_out.counts == {".txt": 1, "hidden": 1, "no extension": 1}
    assert left_out.named == ("linked: a link to /nowhere, which is not there",)
    assert "linked: a link to /nowhere, which is not there" in caplog.text


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
