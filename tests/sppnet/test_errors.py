"""Exit codes of errors, and a data error that goes through a process boundary."""

from __future__ import annotations

import copy
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from sppnet import errors
from tests.support.waiting import PATIENCE


def refuse(key: str) -> None:
    raise errors.DataError("truncated", f"{key} of 12 bytes")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("SppError", 1),
        ("ConfigError", 2),
        ("UnreadableError", 2),
        ("IncompleteError", 3),
        ("TooManyQuarantinedError", 4),
        ("DataError", 4),
        ("ArtifactError", 5),
    ],
)
def test_exit_codes_are_those_of_the_documentation(name: str, code: int) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, errors.SppError)
    assert kind.exit_code == code


def test_a_data_error_keeps_its_reason_between_processes() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        error = pool.submit(refuse, "000012").exception(timeout=PATIENCE)
    assert isinstance(error, errors.DataError)
    assert (error.reason, error.detail) == ("truncated", "000012 of 12 bytes")
    assert str(error) == "truncated: 000012 of 12 bytes"


def test_so_does_an_unreadable_file() -> None:
    error = copy.copy(errors.UnreadableError("not-a-file", "x.jpg is a pipe"))  # by what a pickle is made of
    assert (error.reason, str(error)) == ("not-a-file", "x.jpg is a pipe")


def test_a_detail_that_quotes_everything_is_cut() -> None:
    assert errors.DataError("bad-box", "x" * 10**6).detail == "x" * 1000 + "..."
