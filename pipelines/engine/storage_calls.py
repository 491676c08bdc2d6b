"""Calls to an object store: one layer of retries with one budget, and a word to whoever waits.

The clients below retry nothing of their own: three layers of eight, five and five tries took minutes to say that a
server is gone.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from pipelines.engine.backoff import backoff_seconds
from pipelines.engine.store_base import StoreUnreachableError
from sppnet.errors import ConfigError, SppError

logger = logging.getLogger(__name__)
T = TypeVar("T")

CONNECT_SECONDS = 5.0
"""To reach a server at all."""
READ_SECONDS = 30.0
"""Without a byte of an answer."""
_USERINFO = re.compile(r"//[^/@\s\"']+@")
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 20.0
_TOLD_AFTER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Patience:
    """When a call is given up.

    Attributes:
        tries: After so many.
        seconds: Or when another try would begin later than this after the first.
        cut: Whether a try that is still waiting for its answer after half of that is left alone: it may be one request
            that was lost. There is always another: where a busy machine stood still, a try says nothing of the store.
    """

    tries: int
    seconds: float
    cut: bool = False


USUAL = Patience(10, 90.0)
FIRST_TOUCH = Patience(5, 30.0, cut=True)
"""Of a store that has not answered yet: whoever starts a run wants to know that its endpoint is wrong.

Half of it is what a worker may need to make its client while all cores are busy with others that start.
"""
_LEAST_TRIES = 2


def call_store(
    action: Callable[[], T], what: str, patience: Patience, is_refusal: Callable[[BaseException], bool]
) -> T:
    """Call a store, again after a growing, jittered wait when it or the network failed.

    Args:
        action: The call.
        what: What it does, for messages: `read s3://bucket/name`.
        patience: How long.
        is_refusal: Tells an answer that no other try would change.

    Raises:
        ConfigError: The store refuses, or there are no credentials.
        StoreUnreachableError: The store or the network failed at every try.
    """
    start = time.monotonic()
    with _waits.told(what):
        for attempt in range(1, patience.tries + 1):
            try:
                return _cut_off(action, patience.seconds / 2) if patience.cut else action()
            except SppError:
                raise
            except Exception as error:  # boundary: botocore, aiohttp and OS errors share no base class
                text = without_passwords(" ".join(str(error).split()))
                if is_refusal(error):
                    hint = "check credentials, quota and bucket"
                    raise ConfigError(f"can't {what}: the store refuses ({text}); {hint}") from error
                wait = backoff_seconds(attempt, _FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS)
                spent = time.monotonic() - start
                late = spent + wait > patience.seconds and not (patience.cut and attempt < _LEAST_TRIES)
                if attempt == patience.tries or late:
                    reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
                    tries = "1 try" if attempt == 1 else f"{attempt} tries"
                    raise StoreUnreachableError(f"can't {what}: {reason} ({tries}, {spent:.0f} s)") from error
                logger.warning("storage retry what=%s error=%s wait=%.1fs", what, type(error).__name__, wait)
                time.sleep(wait)
    raise AssertionError("unreachable")


def without_passwords(text: str) -> str:
    """Return a text whose URLs show no user's name and password: clients put the whole endpoint in their errors."""
    return _USERINFO.sub("//***@", text)


def _cut_off(action: Callable[[], T], seconds: float) -> T:
    """Run an action, and leave it alone if it has not ended after some seconds."""
    found: Future[T] = Future()

    def run() -> None:
        try:
            found.set_result(action())
        except Exception as error:  # noqa: BLE001  # boundary: it is raised below, in the caller's thread
            found.set_exception(error)

    threading.Thread(target=run, name="storage-first-touch", daemon=True).start()
    try:
        return found.result(seconds)
    except TimeoutError:
        if found.done():
            raise
        raise TimeoutError("no answer") from None


class _Waits:
    """Says once of every call that takes long what is waited for, from a thread that runs while there are calls."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._calls: dict[int, tuple[str, float]] = {}
        self._numbers = count()
        self._lock = threading.Lock()
        self._watched = False

    @contextmanager
    def told(self, what: str) -> Iterator[None]:
        """Watch a call."""
        number = next(self._numbers)
        with self._lock:
            self._calls[number] = what, time.monotonic()
            if not self._watched:
                threading.Thread(target=self._watch, name="storage-waits", daemon=True).start()
                self._watched = True
        try:
            yield
        finally:
            with self._lock:
                self._calls.pop(number, None)

    def _watch(self) -> None:
        told: set[int] = set()
        idle = 0
        while idle < _IDLE_ROUNDS:
            time.sleep(1.0)
            with self._lock:
                calls = dict(self._calls)
                idle = 0 if calls else idle + 1
                if idle == _IDLE_ROUNDS:
                    self._watched = False
            told &= calls.keys()
            for number, (what, start) in calls.items():
                waited = time.monotonic() - start
                if waited > _TOLD_AFTER_SECONDS and number not in told:
                    told.add(number)
                    logger.warning("waiting for storage: %s, %.0f s so far", what, waited)


_IDLE_ROUNDS = 10
_waits = _Waits()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_waits.forget)  # a forked child has the object without its thread
