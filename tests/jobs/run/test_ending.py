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
        (ZeroDivisionError("division\nby zero"), 1, "ZeroDivisionError: division by zero"),
    ],
)
def test_each_error_ends_with_its_code_and_one_line(error: BaseException, code: int, line: str) -> None:
    assert Ending.of(error) == Ending(code, line)


def test_done_is_zero_without_an_error() -> None:
    assert Ending() == Ending(0, None)
