"""Every error has its exit code and its one line."""

from __future__ import annotations

import pytest

from jobs.run.ending import Ending
from sppnet.errors import ArtifactError, ConfigError, IncompleteError, TooManyQuarantinedError


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("a key\n  is wrong"), 2, "a key is wrong"),
        (IncompleteError("units failed"), 3, "units failed"),
        (TooManyQuarantinedError("too many"), 4, "too many"),
        (ArtifactError("it is gone"), 5, "it is gone"),
        (KeyboardInterrupt(), 130, "interrupted; finished units are kept, run again to go on"),
        (MemoryError(), 3, "memory ran out; finished units are kept, run again to go on"),
        (SystemExit(15), 143, "terminated; finished units are kept, run again to go on"),
        (ZeroDivisionError("division\nby zero"), 1, "ZeroDivisionError: division by zero"),
    ],
)
def test_each_error_ends_with_its_code_and_one_line(error: BaseException, code: int, line: str) -> None:
    assert Ending.of(error) == Ending(code, line)


def test_done_is_zero_without_an_error() -> None:
    assert Ending() == Ending(0, None)


@pytest.mark.parametrize(
    ("code", "exit_code", "line"),
    [
        (1, 3, "ended without a word (exit code 1), as when Ray is lost; finished units are kept, run again to go on"),
        (-11, 3, "ended without a word (signal 11), as when Ray is lost; finished units are kept, run again to go on"),
        (-9, 3, "killed, perhaps as memory ran out; finished units are kept, run again to go on"),
        (-15, 143, "terminated; finished units are kept, run again to go on"),
    ],
)
def test_an_end_without_a_word_gets_one(code: int, exit_code: int, line: str) -> None:
    assert Ending.without_a_word(code) == Ending(exit_code, line)
