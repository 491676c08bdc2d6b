"""Text files as editors of any system save them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engine.text import decode_text, text_lines
from sppnet.errors import ConfigError

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_the_same_however_they_are_saved(encoding: str, end: str) -> None:
    text = end.join(["a1  ", "", " \t", "é 2\t", "three"])
    assert text_lines(text.encode(encoding), "list") == ["a1", "é 2", "three"]


@given(st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=("Cs",))), st.sampled_from(ENCODINGS))
def test_any_text_comes_back(text: str, encoding: str) -> None:
    assert decode_text(text.encode(encoding), "here") == text


def test_a_mark_that_was_written_twice_is_left_out() -> None:
    assert text_lines("\ufeffa1\n".encode("utf-8-sig"), "list") == ["a1"]


def test_only_line_ends_end_a_line() -> None:
    assert text_lines("a\x85b\u2028c\x0cd\n".encode(), "list") == ["a\x85b\u2028c\x0cd"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"a\r\nb\r\ncaf\xe9\r\n", "here: line 3: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (b"\xff\xfea\0\n\0\0\xd8", "here: line 2: byte 0x00 is not UTF-16-LE"),
        ("one\ntwo\n".encode("utf-16-le"), "here: line 1: holds a NUL"),
        (b"one\nt\0wo\n", "here: line 2: holds a NUL"),
    ],
)
def test_other_bytes_are_told_with_their_line(data: bytes, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        text_lines(data, "here")
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(("name", "most"), [("LIST_BYTES", 9), ("LIST_LINES", 3)])
def test_lists_of_absurd_size_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, most: int) -> None:
    monkeypatch.setattr(f"pipelines.engine.text.{name}", most)
    assert text_lines(b"aa\nbb\ncc\n", "here") == ["aa", "bb", "cc"]
    with pytest.raises(ConfigError, match=rf"^here: a list of at most .*{most}.* is read, it has more$"):
        text_lines(b"aa\nbb\ncc\nd\n", "here")
