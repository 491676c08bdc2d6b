"""Whether the head of a cluster still answers; where it does not, Ray would end the process without a word of ours."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from sppnet.errors import IncompleteError

logger = logging.getLogger(__name__)

T = TypeVar("T")

_EVERY_SECONDS = 3.0
# Ray ends a driver whose head has been away for 60 seconds.
_PATIENCE_SECONDS = 30.0


class HeadWatch:
    """Asks every few seconds, on a thread, whether something listens at the head's address.

    A signal to the main thread would reach it inside Ray, which does not expect any exception there but Ctrl-C's. So
    whoever waits calls `check` now and then.

    Args:
        address: `host:port` of the head.
        patience: Seconds without an answer after which the head counts as lost.
        every: Seconds between two questions.
    """

    def __init__(self, address: str, patience: float = _PATIENCE_SECONDS, every: float = _EVERY_SECONDS) -> None:
        self._address = address
        self._patience = patience
        self._every = every
        self._silent_since: float | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="head-watch", daemon=True)
        self._thread.start()

    @property
    def is_silent(self) -> bool:
        """Whether the head did not answer when it was asked last: to ask Ray anything would wait for it."""
        return self._silent_since is not None

    @property
    def is_lost(self) -> bool:
        """Whether it has been silent for too long."""
        since = self._silent_since
        return since is not None and time.monotonic() - since > self._patience

    def check(self) -> None:
        """Raise `IncompleteError` if the head is lost."""
        if self.is_lost:
            raise IncompleteError(
                f"the cluster at {self._address} has not answered for {self._patience:g} s; finished units are kept, "
                "run again when it is back"
            )

    def close(self) -> None:
        """Watch no longer."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(self._every):
            now = time.monotonic()
            if self._answers():
                self._silent_since = None
            elif self._silent_since is None:
                self._silent_since = now
                logger.warning("the cluster at %s does not answer", self._address)

    def _answers(self) -> bool:
        host, _, port = self._address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=self._every).close()
        except OSError:
            return False
        return True


def in_time(ask: Callable[[], T], seconds: float) -> T | None:
    """Ask a head on a thread of its own; None if it does not answer in time: Ray waits for one that went just now."""
    answers: list[T] = []
    thread = threading.Thread(target=lambda: answers.append(ask()), name="head-asked", daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else None
