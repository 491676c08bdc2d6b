"""Whether the head of a cluster still answers; where it does not, Ray would end the process without a word of ours."""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
from typing import NoReturn

from sppnet.errors import IncompleteError

logger = logging.getLogger(__name__)

_EVERY_SECONDS = 3.0
# Ray ends a driver whose head has been away for 60 seconds.
_PATIENCE_SECONDS = 30.0
# Not the one of Ctrl-C: a command in the background of a script ignores that.
_SIGNAL = signal.SIGUSR2


class HeadWatch:
    """Asks every few seconds, on a thread, whether something listens at the head's address.

    Made on the main thread, it raises `IncompleteError` there when the head is lost, whatever is waited for.

    Args:
        address: `host:port` of the head.
        patience: Seconds without an answer after which the head counts as lost.
        every: Seconds between two questions.

    Attributes:
        lost: Whether it was lost.
    """

    def __init__(self, address: str, patience: float = _PATIENCE_SECONDS, every: float = _EVERY_SECONDS) -> None:
        self.lost = False
        self._address = address
        self._patience = patience
        self._every = every
        self._silent_since: float | None = None
        self._closed = threading.Event()
        self._on_main = threading.current_thread() is threading.main_thread()
        if self._on_main:
            self._before = signal.signal(_SIGNAL, self._raise)
        self._thread = threading.Thread(target=self._watch, name="head-watch", daemon=True)
        self._thread.start()

    @property
    def is_silent(self) -> bool:
        """Whether the head did not answer when it was asked last: to ask Ray anything would wait for it."""
        return self._silent_since is not None

    def close(self) -> None:
        """Watch no longer."""
        self._closed.set()
        self._thread.join()
        if self._on_main and threading.current_thread() is threading.main_thread():
            signal.signal(_SIGNAL, self._before)

    def _watch(self) -> None:
        while not self._closed.wait(self._every):
            now = time.monotonic()
            if self._answers():
                self._silent_since = None
            elif self._silent_since is None:
                self._silent_since = now
                logger.warning("the cluster at %s does not answer", self._address)
            elif now - self._silent_since > self._patience and not self._closed.is_set():
                self.lost = True
                if self._on_main:
                    signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)
                return

    def _raise(self, *_: object) -> NoReturn:
        raise IncompleteError(
            f"the cluster at {self._address} has not answered for {self._patience:g} s; finished units are kept, run "
            "again when it is back"
        )

    def _answers(self) -> bool:
        host, _, port = self._address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=self._every).close()
        except OSError:
            return False
        return True
