"""A proxy between an S3 client and its server that does to requests what networks and sick servers do."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

from tests.support.waiting import PATIENCE

Fault = Literal[
    *("503", "500-after", "reset-after", "reset-in-body", "wrong-length", "hang"),
    *("slow", "expired", "denied", "skewed", "stale", "reset-before"),
]
"""503: not done, and said so. *-after: done, but the answer is a 500 or none. Reset-before: not done, and no answer.
In-body: half of the answer, then none.
Wrong-length: a shorter answer than it says. Hang: no answer until the proxy ends. Slow: an answer after a while.
Expired, denied, skewed: refused for the token, the key's rights, the client's clock. Stale: a listing is as it was when
it was asked for the last time."""
SLOW_SECONDS = 0.7

_OWN = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})
_REFUSED = {
    "expired": (400, b"ExpiredToken"),
    "denied": (403, b"AccessDenied"),
    "skewed": (403, b"RequestTimeTooSkewed"),
}
_ERROR = b"<Error><Code>%s</Code><Message>made by the proxy</Message></Error>"


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    method: str
    path: str
    number: int


Rule = Callable[[Request], Fault | None]


class FaultProxy:
    """Forwards requests to a server, but for those that its rule spoils; signatures stay good.

    Attributes:
        rule: Which fault a request has.
        requests: All that were made.
    """

    def __init__(self, upstream: str, host: str = "127.0.0.1") -> None:
        self.upstream = urlsplit(upstream).netloc
        self.rule: Rule = lambda request: None
        self.requests: list[Request] = []
        self.ended = threading.Event()
        self._listings: dict[str, tuple[int, list[tuple[str, str]], bytes]] = {}
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline:
                    self.close_connection = True
                elif self.parse_request():
                    proxy.answer(self)

            def log_message(self, *args: object) -> None:
                """Says nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: object) -> None:
                """Says nothing of clients that went away."""

        self.server = Server((host, 0), Handler)
        self.url = f"http://{host}:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Ends it, and every request that hangs."""
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answers one request."""
        if handler.headers.get("Expect", "").lower() == "100-continue":
            handler.send_response_only(100)
            handler.end_headers()
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        request = Request(handler.command, handler.path, len(self.requests))
        self.requests.append(request)
        fault = self.rule(request)
        if fault == "hang":
            self.ended.wait()
            handler.close_connection = True
            return
        if fault == "503":
            self._send(handler, 503, [], _ERROR % b"ServiceUnavailable")
            return
        if fault == "reset-before":
            handler.close_connection = True
            return
        if fault in _REFUSED:
            status, code = _REFUSED[fault]
            self._send(handler, status, [], _ERROR % code)
            return
        if fault == "slow":
            self.ended.wait(SLOW_SECONDS)
        status, headers, found = self._answer_of(handler, body, stale=fault == "stale")
        if fault == "500-after":
            self._send(handler, 500, [], _ERROR % b"InternalError")
        elif fault == "reset-after":
            handler.close_connection = True
        else:
            half = found[: len(found) // 2]
            if fault == "reset-in-body":
                self._send(handler, status, headers, half, told=len(found))
                handler.close_connection = True
            else:
                self._send(handler, status, headers, half if fault == "wrong-length" else found)

    def _answer_of(
        self, handler: BaseHTTPRequestHandler, body: bytes, *, stale: bool
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the server answers now, or what it answered to a listing before."""
        if "list-type=2" not in handler.path:
            return self._forward(handler, body)
        if not stale or handler.path not in self._listings:
            self._listings[handler.path] = self._forward(handler, body)
        return self._listings[handler.path]

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.upstream, timeout=PATIENCE)
        connection.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
        for name, value in handler.headers.items():
            if name.lower() not in ("connection", "expect"):
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        found = answer.read()
        connection.close()
        return answer.status, answer.getheaders(), found

    def _send(
        self,
        handler: BaseHTTPRequestHandler,
        status: int,
        headers: list[tuple[str, str]],
        body: bytes,
        told: int | None = None,
    ) -> None:
        handler.send_response_only(status)
        length = str(len(body) if told is None else told)
        for name, value in headers:
            if name.lower() == "content-length" and handler.command == "HEAD":
                length = value
            elif name.lower() not in _OWN:
                handler.send_header(name, value)
        handler.send_header("Content-Length", length)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)
            handler.wfile.flush()


@contextmanager
def fault_proxy(upstream: str, host: str = "127.0.0.1") -> Iterator[FaultProxy]:
    """Runs a proxy; `host` is where it listens."""
    proxy = FaultProxy(upstream, host)
    try:
        yield proxy
    finally:
        proxy.close()


def once(fault: Fault, method: str, part: str) -> Rule:
    """A rule that spoils the first request of a method whose path holds a part."""
    done = threading.Event()

    def rule(request: Request) -> Fault | None:
        if done.is_set() or request.method != method or part not in request.path:
            return None
        done.set()
        return fault

    return rule


def sometimes(fault: Fault, seed: int, share: float, part: str = "", method: str = "") -> Rule:
    """A rule that spoils a share of the requests of a method whose path holds a part."""
    dice, lock = random.Random(seed), threading.Lock()

    def rule(request: Request) -> Fault | None:
        if part not in request.path or method not in ("", request.method):
            return None
        with lock:
            return fault if dice.random() < share else None

    return rule


def since(fault: Fault, number: int) -> Rule:
    """A rule that spoils every request from a number on."""
    return lambda request: fault if request.number >= number else None


def since_part(fault: Fault, part: str) -> Rule:
    """A rule that spoils every request after the first whose path holds a part."""
    begun = threading.Event()

    def rule(request: Request) -> Fault | None:
        if begun.is_set():
            return fault
        if part in request.path:
            begun.set()
        return None

    return rule


def away(number: int, seconds: float) -> Rule:
    """A rule that has no request answered for some seconds, from a number on."""
    until: list[float] = []

    def rule(request: Request) -> Fault | None:
        if request.number < number:
            return None
        if not until:
            until.append(time.monotonic() + seconds)
        return "reset-before" if time.monotonic() < until[0] else None

    return rule
