"""A dashboard that takes jobs, as Ray's does, without Ray: what it answers is a test's to set."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import pytest
from aiohttp import WSCloseCode, web


@dataclass
class Dashboard:
    """What it knows and answers.

    Attributes:
        url: Where it listens.
        token: What it asks for; empty for nothing.
        ray: The version that it tells.
        jobs: Details by submission id, in the order in which they came.
        bodies: What was posted.
        logs: What each connection to a log sends in turn; `None` at the end of a list breaks the connection.
        rival: A job that somebody else starts just before the next one.
    """

    url: str = ""
    token: str = ""
    ray: str = field(default_factory=lambda: version("ray"))
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    logs: list[list[str | None]] = field(default_factory=list)
    rival: str = ""

    def add(self, name: str, status: str, code: int | None = None, message: str = "") -> None:
        """Knows one more job, or another state of it."""
        details = {"submission_id": name, "status": status, "driver_exit_code": code, "message": message}
        self.jobs[name] = {"type": "SUBMISSION", **details}

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        shown = request.headers.get("Authorization", "")
        if self.token and shown != f"Bearer {self.token}":
            return web.Response(status=403 if shown else 401, text="no")
        if request.path == "/api/version":
            return web.json_response({"ray_version": self.ray, "version": "4"})
        if request.path.endswith("/logs/tail"):
            return await self._tail(request)
        if request.path.endswith("/stop"):
            self.add(request.path.split("/")[3], "STOPPED")
            return web.json_response({"stopped": True})
        if request.method == "POST":
            return await self._post(request)
        if request.path == "/api/jobs/":
            return web.json_response(
                [*self.jobs.values(), {"type": "DRIVER", "submission_id": None, "status": "RUNNING"}]
            )
        name = request.path.removeprefix("/api/jobs/")
        if name in self.jobs:
            return web.json_response(self.jobs[name])
        return web.Response(status=404, text=f"Job {name} does not exist")

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.rival:
            self.add(self.rival, "PENDING")
            self.rival = ""
        if body["submission_id"] in self.jobs:
            return web.Response(
                status=500, text=f"ValueError: Job with submission_id {body['submission_id']} already exists."
            )
        self.bodies.append(body)
        self.add(body["submission_id"], "RUNNING")
        return web.json_response({"job_id": body["submission_id"], "submission_id": body["submission_id"]})

    async def _tail(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        for text in self.logs.pop(0) if self.logs else []:
            if text is None:
                await socket.close(code=WSCloseCode.GOING_AWAY)
                return socket
            await socket.send_str(text)
        await socket.close()
        return socket


@pytest.fixture
def dashboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dashboard]:
    """A dashboard that runs; this process has no token."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    made = Dashboard()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def begin() -> web.AppRunner:
        application = web.Application()
        application.router.add_route("*", "/{tail:.*}", made._handle)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    runner = asyncio.run_coroutine_threadsafe(begin(), loop).result()
    yield made
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
