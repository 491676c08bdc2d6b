"""Which image a name means, however a list or a table writes it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.datasets.contents import SeenFile
from pipelines.datasets.keys import key_of
from pipelines.datasets.named_images import NamedImages, key_among, meanings
from sppnet.errors import ConfigError

APART = unicodedata.normalize("NFD", "né")
FILES = ("a1.jpg", "img (1).JPG", "img (2).png", "img.jpg", "cat.rf.0a1b.jfif", "sub/b 1.jpeg", "x.jpg.png",
         "two.jpg", "two.png", "UP.JPeG", f"{APART}.jpg", "2023/a1.jpg", "no.txt", "Case.jpg", "CASE.jpg")  # fmt: skip


def named(folder: str = "JPEGImages") -> NamedImages:
    head = f"{folder}/" if folder else ""
    return NamedImages({f"{head}{name}": SeenFile(f"{head}{name}", "1", bytes) for name in FILES}, folder)


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("a1", "a1.jpg"),
        ("a1.jpg", "a1.jpg"),
        ("a1.png", "a1.jpg"),
        ("JPEGImages/a1.jpg", "a1.jpg"),
        ("./JPEGImages/a1", "a1.jpg"),
        ("/data/VOC2007/JPEGImages/a1.jpg", "a1.jpg"),
        ("C:\\data\\JPEGImages\\a1.jpg", "a1.jpg"),
        ("sub\\b 1.jpeg", "sub/b 1.jpeg"),
        ("2023/a1", "2023/a1.jpg"),
        ("a1  1", "a1.jpg"),
        ("a1 -1", "a1.jpg"),
        ("a1.jpg\t+1", "a1.jpg"),
        ("a1 1 0", "a1.jpg"),
        ("img (1)", "img (1).JPG"),
        ("img (2)  -1", "img (2).png"),
        ("sub/b 1 1", "sub/b 1.jpeg"),
        ("cat.rf.0a1b", "cat.rf.0a1b.jfif"),
        ("cat.rf.0a1b.JPG", "cat.rf.0a1b.jfif"),
        ("x.jpg", "x.jpg.png"),
        ("UP", "UP.JPeG"),
        ("né", f"{APART}.jpg"),
        (f"{APART}.jpg 1", f"{APART}.jpg"),
        ("two.png", "two.png"),
        ("IMG (1).jpg  1", "img (1).JPG"),
        ("up.jpg", "UP.JPeG"),
    ],
)
def test_a_line_finds_its_image(line: str, file: str) -> None:
    for folder in ("JPEGImages", ""):
        if "JPEGImages" in line and not folder:
            continue
        key, files = named(folder).find(line)
        assert [found.place.removeprefix("JPEGImages/") for found in files] == [file]
        assert key == key_of(file)


@pytest.mark.parametrize(
    ("line", "key"),
    [("a9", "a9"), ("a9 -1", "a9"), ("img (9)", "img (9)"), ("x/JPEGImages/q.v2.jpg", "q%2Ev2"), ("case", "case")],
)
def test_an_unknown_image_has_the_likeliest_key(line: str, key: str) -> None:
    assert named().find(line) == (key, ())


def test_images_that_cant_be_told_apart_are_one_key() -> None:
    assert [file.place for file in named("").find("two")[1]] == ["two.jpg", "two.png"]
    listed = named("").listed(["two.png", "a1", "two.jpg"], "list")
    assert {key: [file.place for file in files] for key, files in listed.items()} == {
        "two": ["two.png", "two.jpg"],
        "a1": ["a1.jpg"],
    }
    for twice in (["a1", "a1.jpg"], ["a9", "a9 -1"]):
        with pytest.raises(ConfigError, match=rf"^list lists '{twice[0]}' twice$"):
            named("").listed(twice, "list")


def test_a_key_among_others() -> None:
    known = {"a1", "cat/img (1)", "b%2Ev2", "x/JPEGImages/y"}
    for name, key in {
        "a1.jpg": "a1", "JPEGImages/a1.png": "a1", "cat\\img (1).jpg": "cat/img (1)", "b.v2": "b%2Ev2",
        "b.v2.jpg": "b%2Ev2", "b%2Ev2": "b%2Ev2", "cat/img%20(1)": "cat/img (1)",
        "x/JPEGImages/y.jpg": "x/JPEGImages/y", "other.v3.jpg": "other%2Ev3",
    }.items():  # fmt: skip
        assert key_among(name, known) == key


@given(st.text("ab /.\\1-", min_size=1).filter(lambda name: name.strip() == name))
def test_the_whole_name_is_meant_first(name: str) -> None:
    paths = list(meanings(name))
    assert paths[0] == name or name.startswith("./")
    assert len(paths) <= 4 * (len(name.split()) + 1)
