"""What images are called in what goes out."""

from __future__ import annotations

from pipelines.artifacts.manifest import Manifest, Shard
from pipelines.outputs.names import FileNames, row_name


def test_an_image_is_called_as_its_file_is() -> None:
    files = Shard("u", "a", ("img (1)", "b%2Ev2", "gone", "two"), "", (
        *(("JPEGImages/img (1).JPG",), ("JPEGImages/b.v2.jfif",)), (), ("JPEGImages/two.jpg", "JPEGImages/two.png"),
    ))  # fmt: skip
    folders = Shard("v", "b", ("cat/1",), "", (("train/cat/1.jpeg",),))
    tar = Shard("t", "c", ("day%2E1/s 0",), "t-0.tar")
    names = FileNames(Manifest({"all": (files, folders), "tars": (tar,)}, ()))
    assert [names.of(key) for key in files.keys] == ["img (1).JPG", "b.v2.jfif", "gone", "two.jpg"]
    assert names.of("cat/1") == "cat/1.jpeg"
    assert names.of("day%2E1/s 0") == "day.1/s 0"
    assert FileNames(Manifest({"all": (files, folders)}, ()), ["u"]).of("cat/1") == "cat/1"


def test_a_row_has_no_blanks() -> None:
    assert row_name("a%2Eb c%25") == "a.b%20c%25"
