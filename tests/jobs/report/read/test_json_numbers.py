"""Numbers out of JSON that may hold anything."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.report.read.json_numbers import finite, finite_or_none


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "many", [1]])
def test_what_is_no_finite_number_is_refused(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        finite(value)


def test_numbers_are_taken_as_they_are() -> None:
    assert [finite(value) for value in (1, 0.25, "3e2")] == [1.0, 0.25, 300.0]


def test_null_and_nan_are_none() -> None:
    assert [finite_or_none(value) for value in (None, float("nan"), 0, 0.5)] == [None, None, 0.0, 0.5]
    with pytest.raises(ValueError, match="could not convert"):
        finite_or_none("many")
