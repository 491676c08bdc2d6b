"""Names in tars and of tars, and the keys that they become."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.datasets.tar_keys import is_name_of, is_tar, member_name, own_key, tar_names, told_apart


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.jpg", ("a", "jpg")),
        ("./a.JPG", ("a", "jpg")),
        ("//n01//./a.left.JPG", ("n01/a", "left.jpg")),
        ("n.v1/a.cls", ("n%2Ev1/a", "cls")),
        ("50%/a.txt", ("50%25/a", "txt")),
        ("..\\up\\a.jpg", ("%2E%2E/up/a", "jpg")),
        ("caf\udce9.jpg", ("caf%E9", "jpg")),
        ("a\0b.jpg", ("a%00b", "jpg")),
        ("é.jpg", ("é", "jpg")),
        ("._a.jpg", None),
        (".DS_Store", None),
        ("set/.ipynb_checkpoints/a.jpg", None),
        ("__MACOSX/set/a.jpg", None),
        ("README", None),
        ("a.", None),
        ("./", None),
    ],
)
def test_members(name: str, found: tuple[str, str] | None) -> None:
    assert member_name(name) == found


def test_tars_are_known_by_their_extension() -> None:
    names = ["a.tar", "a.TAR", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tbz", "a.tar.xz", "a.tar.zst", "b/a.txz"]
    assert all(map(is_tar, names))
    assert not any(map(is_tar, ["a.gz", "tar", "a.tar.txt", "a.tart", "a.zip"]))


def test_a_tars_name_has_as_many_folders_as_tell_it_apart() -> None:
    assert tar_names(["x/a.tar", "x/b.tar"]) == ["a%2Etar", "b%2Etar"]
    assert tar_names(["x/a.tar", "y/a.tar", "a.tar"]) == ["x/a%2Etar", "y/a%2Etar", "a%2Etar"]
    assert tar_names(["s3://one/x/a.tar", "s3://two/x/a.tar"]) == ["one/x/a%2Etar", "two/x/a%2Etar"]


TARS = ["x/a.tar", "y/a.tar", "y/b.tar", "s3://q/c.tar.gz"]
KEY = st.sampled_from(["0", "1", "n/0", "n/1", "a/0"])


@given(st.lists(st.lists(KEY, unique=True), min_size=4, max_size=4), st.sets(KEY))
def test_every_key_is_told_apart_and_leads_back(keys: list[list[str]], taken: set[str]) -> None:
    apart = told_apart(TARS, keys, taken)
    every = [key for own in apart for key in own]
    assert len({*every, *taken}) == len(every) + len(taken)
    for tar, own, found in zip(TARS, keys, apart, strict=True):
        assert [own_key(tar, key) for key in found] == own
        assert not any(is_name_of(tar, key) for key in found)
