"""What this process has spent its time on and moved, for metrics: sums that only grow."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, get_args

Kind = Literal["read", "write", "decode_wait"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""`read` and `write`: seconds in storage, threads added up; `decode_wait`: seconds in which work waited for images."""

_lock = threading.Lock()
_seconds: Counter[Kind] = Counter()
_bytes: Counter[Kind] = Counter()


@contextmanager
def busy(kind: Kind) -> Iterator[None]:
    """Add the seconds of what runs inside."""
    start = time.perf_counter()
    try:
        yield
    finally:
        spent = time.perf_counter() - start
        with _lock:
            _seconds[kind] += spent  # type: ignore[assignment]  # a Counter of floats


def moved(kind: Kind, count: int) -> None:
    """Add bytes that went to or came from storage."""
    with _lock:
        _bytes[kind] += count


class Activity:
    """What has been added since it was made.

    Other threads of the process count too: a process makes one unit at a time.
    """

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._before = _snapshot()

    def seconds(self) -> Mapping[str, float]:
        """Return seconds by kind, those that are not 0, and all of them as `unit`."""
        now = _snapshot()[0]
        spent = {kind: now[kind] - self._before[0][kind] for kind in KINDS}
        return {"unit": time.perf_counter() - self._start, **{kind: s for kind, s in spent.items() if s > 0}}

    def bytes(self, kind: Kind) -> int:
        """Return the bytes of a kind."""
        return _snapshot()[1][kind] - self._before[1][kind]


def _snapshot() -> tuple[Counter[Kind], Counter[Kind]]:
    with _lock:
        return _seconds.copy(), _bytes.copy()
