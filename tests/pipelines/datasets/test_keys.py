"""Keys, their order, and lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.datasets.keys import (
    check_keys,
    check_split,
    checked_categories,
    key_of,
    mixed,
    parse_categories,
    parse_list,
    path_of,
    safe_key,
)
from sppnet.errors import ConfigError


# A name of nothing but dots has no extension: `..jpg` is no image's.
@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",))).filter(lambda s: s.strip(".")))
def test_any_file_name_has_a_key_of_its_own(stem: str) -> None:
    key = key_of(f"class.v2/{stem}.jpg")
    assert "." not in key
    assert path_of(key) == f"class.v2/{stem}"


def test_a_name_becomes_safe() -> None:
    assert safe_key("a.b%c/d") == "a%2Eb%25c/d"


@given(st.lists(st.text(max_size=3), unique=True))
def test_the_order_of_keys_is_their_own(keys: list[str]) -> None:
    order = mixed(keys)
    assert sorted(order) == sorted(keys)
    assert mixed(reversed(keys)) == order
    assert [key for key in order if key in keys[:2]] == mixed(keys[:2])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["a", "b", "a"], "here lists 'a' twice"),
        (["a.b"], "here: 'a.b' can't be a key"),
        ([""], "'' can't be a key"),
        (["/a"], "no absolute paths"),
        (["a\\b"], "can't be a key"),
        (["a", "a\0b"], r"here: 'a\x00b' can't be a key: no NUL"),
        (["a\udcff"], r"here: 'a\udcff' can't be a key: no NUL, and only what UTF-8 can write; rename it"),
    ],
)
def test_bad_keys(keys: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_keys(keys, "here")
    assert message in str(caught.value)


def test_an_unknown_split_is_told_with_those_that_there_are() -> None:
    check_split("val", ("train", "val"))
    with pytest.raises(ConfigError, match="no split 'test' in the data set; it has: train, val"):
        check_split("test", ("train", "val"))


@pytest.mark.parametrize(("name", "most"), [("LIST_BYTES", 8), ("LIST_LINES", 2)])
def test_lists_of_absurd_size_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, most: int) -> None:
    assert parse_list(b"aa\nbb\ncc\n", "here") == [["aa"], ["bb"], ["cc"]]
    monkeypatch.setattr(f"pipelines.datasets.keys.{name}", most)
    assert parse_list(b"aa\nbb\n", "here") == [["aa"], ["bb"]]
    with pytest.raises(ConfigError, match=rf"^here: a list of at most .*{most}.* is read, this has more$"):
        parse_list(b"aa\nbb\ncc\n", "here")
    with pytest.raises(ConfigError, match=r"^here: a list of at most"):
        parse_categories(b"aa\nbb\ncc\n", "here")


def test_lists() -> None:
    assert parse_list(b"a 1\n\n  b\t2 3 \r\n", "") == [["a", "1"], ["b", "2", "3"]]
    assert parse_categories(b"sea lion\n\n cat \n", "here") == ("sea lion", "cat")
    assert checked_categories(["b", "a"], "here") == ("b", "a")
    with pytest.raises(ConfigError, match="here holds no categories"):
        parse_categories(b"\n", "here")
    with pytest.raises(ConfigError, match="here names the category 'a' twice"):
        checked_categories(["a", "b", "a"], "here")
