"""Waits between tries: drawn up to a bound that doubles."""

from __future__ import annotations

import pytest

from pipelines.engine import backoff
from pipelines.engine.backoff import backoff_seconds


@pytest.mark.parametrize(("drawn", "factor"), [(0.0, 0.0), (0.5, 0.5), (0.999, 0.999)])
def test_waits_double_up_to_the_longest(monkeypatch: pytest.MonkeyPatch, drawn: float, factor: float) -> None:
    monkeypatch.setattr(backoff.random, "random", lambda: drawn)
    waits = [backoff_seconds(failures, first=0.5, longest=3.0) for failures in (1, 2, 3, 4, 5)]
    assert waits == pytest.approx([wait * factor for wait in (0.5, 1, 2, 3, 3)])


def test_two_tries_do_not_wait_alike() -> None:
    assert len({backoff_seconds(1, 1.0, 1.0) for _ in range(20)}) > 1
