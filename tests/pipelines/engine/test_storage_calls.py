"""Calls to a store: tries, waits, and who is told."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from pipelines.engine import storage_calls
from pipelines.engine.backoff import random
from pipelines.engine.storage_calls import FIRST_TOUCH, USUAL, Patience, call_store
from pipelines.engine.store_base import StoreUnreachableError
from sppnet.errors import ArtifactError, ConfigError


def refused(error: BaseException) -> bool:
    return "refused" in str(error)


def failing(times: int, error: Exception) -> tuple[list[int], object]:
    calls: list[int] = []

    def action() -> str:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return "done"

    return calls, action


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(storage_calls.time, "sleep", found.append)
    monkeypatch.setattr(random, "random", lambda: 1.0)
    return found


def test_what_fails_for_a_while_is_done_in_the_end(slept: list[float]) -> None:
    calls, action = failing(3, OSError("busy"))
    assert call_store(action, "read x", USUAL, refused) == "done"
    assert len(calls) == 4
    assert [wait for wait in slept if wait != 1.0] == [0.2, 0.4, 0.8]


def test_tries_end_and_so_does_time(slept: list[float]) -> None:
    calls, action = failing(99, OSError("busy"))
    with pytest.raises(StoreUnreachableError, match=r"^can't read x: OSError: busy \(3 tries, 0 s\)$"):
        call_store(action, "read x", Patience(3, 60.0), refused)
    assert len(calls) == 3
    calls, action = failing(99, TimeoutError())
    with pytest.raises(StoreUnreachableError, match=r"^can't read x: TimeoutError \(2 tries, 0 s\)$"):
        call_store(action, "read x", Patience(9, 0.3), refused)  # the second wait would be 0.4 s
    assert len(calls) == 2


def test_what_no_other_try_would_change_is_not_tried_again() -> None:
    calls, action = failing(99, OSError("access refused"))
    with pytest.raises(ConfigError, match=r"^can't read x: the store refuses \(access refused\); check credentials"):
        call_store(action, "read x", USUAL, refused)
    assert len(calls) == 1
    calls, action = failing(99, ArtifactError("x does not exist"))
    with pytest.raises(ArtifactError, match="does not exist"):
        call_store(action, "read x", FIRST_TOUCH, refused)
    assert len(calls) == 1


def test_a_try_that_waits_is_left_alone_when_time_is_over() -> None:
    released = threading.Event()
    start = time.monotonic()
    try:
        with pytest.raises(StoreUnreachableError, match=r"TimeoutError: no answer \(\d tries, \d s\)$"):
            call_store(released.wait, "read x", Patience(5, 0.6, cut=True), refused)
    finally:
        released.set()
    assert time.monotonic() - start < 30


def test_whoever_waits_long_is_told_once_for_what(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(storage_calls, "_TOLD_AFTER_SECONDS", 0.1)
    with caplog.at_level(logging.WARNING):
        call_store(lambda: time.sleep(2.5), "read slow", USUAL, refused)
        call_store(lambda: None, "read quick", USUAL, refused)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert told[0].startswith("waiting for storage: read slow, ")
