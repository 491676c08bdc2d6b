"""Keys, their order, and lists."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.datasets.keys import (
    check_keys,
    check_split,
    checked_categories,
    composed,
    is_image,
    key_of,
    mixed,
    near,
    parse_categories,
    parse_list,
    path_of,
    safe_key,
    shown,
)
from sppnet.errors import ConfigError

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)))


# A name of nothing but dots has no extension: `..jpg` is no image's.
@given(NAMES.filter(lambda s: s.strip(".")), st.sampled_from(("jpg", "JPeG", "jfif", "heic", "TIF")))
def test_any_file_name_has_a_key_of_its_own(stem: str, extension: str) -> None:
    key = key_of(f"class.v2/{stem}.{extension}")
    assert not set(key) & set(".\\\n\r\t")
    assert path_of(key) == composed(f"class.v2/{stem}")


@given(st.binary(min_size=1).map(os.fsdecode).filter(lambda s: not set(s) & set("/\0")))
def test_bytes_that_are_no_text_have_keys_too(stem: str) -> None:
    key = safe_key(stem)
    key.encode()
    shown(key).encode()
    assert path_of(key) == composed(stem)


def test_both_forms_of_a_name_are_one_key() -> None:
    apart, together = (unicodedata.normalize(form, "übung/né.jpg") for form in ("NFD", "NFC"))
    assert apart != together
    assert key_of(apart) == key_of(together) == "übung/né"


def test_a_name_becomes_safe() -> None:
    assert safe_key("a.b%c/d e") == "a%2Eb%25c/d e"
    assert safe_key("a\\b\n") == "a%5Cb%0A"
    assert safe_key("/a") == "%2Fa"


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
        (["a%2Eb", "a%2Eb"], "here lists 'a.b' twice"),
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


def test_lists() -> None:
    assert parse_list(b"a 1\n\n  b\t2 3 \r\n", "here") == [["a", "1"], ["b", "2", "3"]]
    assert parse_categories(b"sea lion\n\n cat \n", "here") == ("sea lion", "cat")
    assert checked_categories(["b", "a"], "here") == ("b", "a")
    with pytest.raises(ConfigError, match="here holds no categories"):
        parse_categories(b"\n", "here")
    with pytest.raises(ConfigError, match="here names the category 'a' twice"):
        checked_categories(["a", "b", "a"], "here")


def test_extensions_of_any_spelling() -> None:
    assert all(map(is_image, ("a/b.jpg", "b.JPeG", "c.jfif", "d.JPE", "e.Png", "f.heic", "g.TIFF", "a.tar/h.WebP")))
    assert not any(map(is_image, ("a/b.txt", "a/jpg", "a.jpg/b", "jpg", ".jpg")))


def test_a_misspelt_name_gets_the_nearest() -> None:
    assert near("catt", ["dog", "cat"]) == "; did you mean 'cat'?"
    assert near("zebra", ["dog", "cat"]) == "; there are: dog, cat"
    assert near("zebra", []) == "; there are: none"
    assert near("zebra", [f"dog {n}" for n in range(22)]).endswith("dog 19 and 2 more")
