"""Whether Ray still answers; where it does not, it would end the process without a word of ours, or let it wait."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from pipelines.executors.ray_token import auth_token
from sppnet.errors import IncompleteError

logger = logging.getLogger(__name__)

T = TypeVar("T")

_EVERY_SECONDS = 3.0
# Ray ends a driver whose head has been away for 60 seconds.
_PATIENCE_SECONDS = 30.0
# What Ray's own head asks its nodes; a process that was stopped still accepts connections, and does not answer this.
_HEALTH = "/grpc.health.v1.Health/Check"


class RayWatch:
    """Asks Ray's processes every few seconds, on a thread, whether they are well.

    A signal to the main thread would reach it inside Ray, which does not expect any exception there but Ctrl-C's. So
    whoever waits calls `check` now and then.

    Args:
        asked: What is asked: what it is called in messages, and its `host:port`.
        patience: Seconds without an answer after which one of them counts as lost.
        every: Seconds between two questions.
    """

    def __init__(
        self, asked: Mapping[str, str], patience: float = _PATIENCE_SECONDS, every: float = _EVERY_SECONDS
    ) -> None:
        self._asked = asked
        self._patience = patience
        self._every = every
        self._silent_since: dict[str, float] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ray-watch", daemon=True)
        self._thread.start()

    @property
    def is_silent(self) -> bool:
        """Whether something did not answer when it was asked last: to ask Ray anything would wait for it."""
        return bool(self._silent_since)

    @property
    def is_lost(self) -> bool:
        """Whether something has been silent for too long."""
        return bool(self._lost())

    def _lost(self) -> list[str]:
        now = time.monotonic()
        return [name for name, since in dict(self._silent_since).items() if now - since > self._patience]

    def check(self) -> None:
        """Raise `IncompleteError` if something is lost."""
        for name in self._lost():
            raise IncompleteError(
                f"{name} has not answered for {self._patience:g} s; finished units are kept, run again when it is back"
            )

    def close(self) -> None:
        """Watch no longer."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(self._every):
            for name, address in self._asked.items():
                asked_at = time.monotonic()
                if answers(address, self._every):
                    self._silent_since.pop(name, None)
                elif name not in self._silent_since:
                    self._silent_since[name] = asked_at
                    logger.warning("%s does not answer", name)


def answers(address: str, seconds: float) -> bool:
    """Ask a process of Ray's whether it is well; any answer will do.

    Args:
        address: `host:port`.
        seconds: After which it has not answered.
    """
    if os.environ.get("RAY_USE_TLS", "0") not in ("0", ""):  # its certificates are Ray's alone
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
        except OSError:
            return False
        return True
    import grpc

    token = auth_token()
    shown = [("authorization", f"Bearer {token}")] if token else []
    silent = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(_HEALTH)(b"", timeout=seconds, metadata=shown)
        except grpc.RpcError as error:
            return error.code() not in silent
    return True


def in_time(ask: Callable[[], T], seconds: float) -> T | None:
    """Ask a head on a thread of its own; None if it does not answer in time: Ray waits for one that went just now."""
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(ask()), name="ray-asked", daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else None
