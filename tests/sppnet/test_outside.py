"""What comes from outside: whatever a parser raises becomes one error, and what inflates is bounded."""

from __future__ import annotations

import struct
import zlib

import pytest

from sppnet.errors import ConfigError, DataError
from sppnet.outside import FILE_BYTES, most_inflated, parse_json, parsing


def broken(why: str) -> DataError:
    return DataError("broken", why)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (LookupError("unknown encoding: unicode"), "unknown encoding: unicode"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deep"),
        (MemoryError(), "it asks for more memory than there is"),
        (OverflowError("too large\nfor C"), "too large for C"),
        (zlib.error("Error -3"), "Error -3"),
        (struct.error("unpack"), "unpack"),
        (KeyError("size"), "'size'"),
        (AssertionError(), "AssertionError"),
        (ValueError("x" * 1000), "x" * 200 + "..."),
    ],
)
def test_whatever_a_parser_raises_is_one_line(error: Exception, told: str) -> None:
    with pytest.raises(DataError) as caught, parsing(broken):
        raise error
    assert (caught.value.reason, caught.value.detail, caught.value.__cause__) == ("broken", told, error)


@pytest.mark.parametrize("error", [ConfigError("meant"), KeyboardInterrupt()])
def test_what_is_meant_comes_out_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, parsing(broken):
        raise error
    assert caught.value is error


def test_json() -> None:
    assert parse_json(b'{"a": [1, 2.5, null]}', broken) == {"a": [1, 2.5, None]}
    for data in (b"[" * 100_000, b'{"a":' * 100_000, b"{", b"", b"\xff\xfe\xfd", b"1" * 5000):
        with pytest.raises(DataError, match=r"^broken: "):
            parse_json(data, broken)


def test_what_comes_out_of_compressed_bytes_is_bounded() -> None:
    assert most_inflated(0) == 64 << 20
    assert most_inflated(1 << 20) == (64 + 50) << 20
    assert most_inflated(1 << 40) == FILE_BYTES


@pytest.mark.parametrize("error", [MemoryError("malloc"), OSError("out of memory error when reading image file")])
def test_where_sizes_are_bounded_memory_that_runs_out_is_the_machines(error: Exception) -> None:
    with pytest.raises(MemoryError) as caught, parsing(broken, bounded=True):
        raise error
    assert caught.value.__cause__ is error
    with pytest.raises(DataError), parsing(broken, bounded=True):
        raise OSError("image file is truncated")
