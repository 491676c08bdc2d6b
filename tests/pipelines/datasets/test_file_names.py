"""Names of many files: braces, globs, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.datasets.file_names import expand_braces, find_files, read_given
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("a-{000..002}.tar", ["a-000.tar", "a-001.tar", "a-002.tar"]),
        ("a-{9..11}.tar", ["a-9.tar", "a-10.tar", "a-11.tar"]),
        ("{x,y}/{0..1}", ["x/0", "x/1", "y/0", "y/1"]),
        ("s3://bucket/{a,}b", ["s3://bucket/ab", "s3://bucket/b"]),
        ("t{1,2{a,b}}", ["t1", "t2a", "t2b"]),
        ("{a..c}", ["a", "b", "c"]),
        ("{0..9..4}", ["0", "4", "8"]),
        ("back\\slash", ["back\\slash"]),
    ],
)
def test_braces(pattern: str, names: list[str]) -> None:
    assert expand_braces(pattern) == names


@given(st.integers(0, 50), st.integers(0, 50))
def test_a_range_counts_both_ends(first: int, more: int) -> None:
    names = expand_braces(f"t{{{first:03d}..{first + more:03d}}}")
    assert [int(name[1:]) for name in names] == list(range(first, first + more + 1))
    assert all(len(name) == 4 for name in names)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{5..3}", "must count up"),
        ("{0..99999999}", "at most 1000000"),
        ("{abc}", "{abc} is neither a range"),
        ("a{}b", "{} is neither a range"),
        ("{a,{b}}", "{b} is neither a range"),
        ("{{a,b}}", "is neither a range"),
        ("}a{", "}a{ is neither a range"),
        ("{000..12", "do not close"),
        ("a}", "do not close"),
        ("{0..999}{0..9999}", "more than 1000000"),
    ],
)
def test_bad_braces(pattern: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        expand_braces(pattern)


def test_tars_on_a_disk(tmp_path: Path) -> None:
    for name in ("b.tar", "a.tar", "a.txt", "x[1].tar", "deep/a.tar"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    assert [tar.name for tar in find_files(["*.tar"], str(tmp_path), "f")] == ["a.tar", "b.tar", "x[1].tar"]
    mixed = find_files([f"{tmp_path}/deep/a.tar", "x[1].tar", "{b,a}.tar"], str(tmp_path), "f")
    assert [tar.read() for tar in mixed] == [b"deep/a.tar", b"x[1].tar", b"b.tar", b"a.tar"]
    assert [tar.given for tar in mixed] == [f"{tmp_path}/deep/a.tar", "x[1].tar", "b.tar", "a.tar"]
    assert [read_given(tar.given, str(tmp_path)) for tar in mixed] == [tar.read() for tar in mixed]
    (tmp_path / "{x}.tar").write_bytes(b"taken literally")
    assert [tar.name for tar in find_files(["{x}.tar"], str(tmp_path), "f")] == ["{x}.tar"]
    with pytest.raises(ConfigError, match=r"^f: no file matches .*/c.tar, in a folder that holds a.tar and such$"):
        find_files(["{a,b,c}.tar"], str(tmp_path), "f")
    with pytest.raises(ConfigError, match=r"no file matches .*/\*.tgz"):
        find_files(["*.tgz"], str(tmp_path), "f")
    with pytest.raises(ConfigError, match=r"a.tar is named twice"):
        find_files(["*.tar", "a.tar"], str(tmp_path), "f")
    (tmp_path / "empty").mkdir()
    for name, why in (
        ("gone/*.tar", f": {tmp_path}/gone does not exist"),
        ("a.txt/*.tar", f": {tmp_path}/a.txt is no folder"),
        ("deep", r", a folder: name the files in it, such as deep/\*"),
        ("empty/*.tar", ", in a folder without files"),
    ):
        with pytest.raises(ConfigError, match=rf"^f: no file matches .*{why}$"):
            find_files([name], str(tmp_path), "f")


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(b"1")
    first = find_files(["a", "b"], str(tmp_path), "f")
    (tmp_path / "b").write_bytes(b"2")
    second = find_files(["a", "b"], str(tmp_path), "f")
    assert [old.stamp == new.stamp for old, new in zip(first, second, strict=True)] == [True, False]
    assert [(seen.place, seen.read()) for seen in (file.seen() for file in second)] == [("a", b"1"), ("b", b"2")]


def test_tars_in_an_object_store() -> None:
    store = open_store("memory://file-names")
    for number in range(3):
        store.put(f"set/t-{number:02d}.tar", bytes(number))
    tars = find_files(["memory://file-names/set/t-{00..02}.tar"], "", "f")
    assert [tar.uri for tar in tars] == [f"memory://file-names/set/t-{n:02d}.tar" for n in range(3)]
    below = find_files(["set/*.tar"], "memory://file-names/", "f")
    assert [tar.uri for tar in below] == [tar.uri for tar in tars]
    assert [tar.given for tar in below] == [f"set/t-{n:02d}.tar" for n in range(3)]
    assert read_given("set/t-02.tar", "memory://file-names/") == bytes(2)
    assert tars[2].read() == bytes(2)
