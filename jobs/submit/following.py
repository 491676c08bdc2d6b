"""Following a job: its log as it is written, its end, and what that end means for who waits."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from jobs.run.ending import INTERRUPTED
from jobs.submit.server import Job, JobServer, UnansweredError
from sppnet.errors import ArtifactError, ConfigError, IncompleteError, SppError, TooManyQuarantinedError

_LOOK_SECONDS = 2.0
_AGAIN_SECONDS = 1.0
_GONE_SECONDS = 40.0
"""A cluster that does not answer for so long is gone."""
_LAST_LINES_SECONDS = 15.0
_NOT_FOUND = (126, 127)
_BY_CODE: dict[int, type[SppError]] = {
    error.exit_code: error for error in (ConfigError, IncompleteError, TooManyQuarantinedError, ArtifactError)
}


class NotFollowedError(SppError):
    """Who followed has left; the job goes on."""

    exit_code = INTERRUPTED


class Log:
    """A job's log, of which each line is told once, however often it is read from the beginning.

    Args:
        tell: Takes a line.

    Attributes:
        result: What the run printed as JSON at its end; empty before.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._rest = ""
        self._taken = self._skip = 0
        self.result: dict[str, Any] = {}

    def rewind(self) -> None:
        """Be told that what comes next is from the beginning."""
        self._skip = self._taken

    def take(self, text: str) -> None:
        """Take what comes next; whole lines are told."""
        skipped = min(self._skip, len(text))
        self._skip -= skipped
        self._taken += len(text) - skipped
        *lines, self._rest = (self._rest + text[skipped:]).split("\n")
        for line in lines:
            self._line(line)

    def close(self) -> None:
        """Tell what is left without an end of line."""
        if self._rest:
            self._line(self._rest)
        self._rest = ""

    def _line(self, line: str) -> None:
        found = _result(line)
        if found:
            self.result = found
        else:
            self._tell(line.rstrip("\r"))


def _result(line: str) -> dict[str, Any]:
    """Return the JSON with which `sppnet run --json` ends; empty for any other line."""
    if not line.startswith('{"command": "run"'):
        return {}
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return found


async def follow(server: JobServer, name: str, log: Log) -> Job:
    """Follow a job to its end, through connections that break.

    Args:
        server: The cluster.
        name: The job's submission id.
        log: Takes what the job writes.

    Raises:
        IncompleteError: The cluster has gone, or has forgotten the job.
        ConfigError: It does not let this process in any more.
    """
    reading = asyncio.create_task(_read(server, name, log))
    try:
        job = await wait_for_end(server, name)
        await asyncio.wait({reading}, timeout=_LAST_LINES_SECONDS)
        return job
    finally:
        reading.cancel()
        log.close()


async def _read(server: JobServer, name: str, log: Log) -> None:
    while True:
        log.rewind()
        try:
            async for text in server.logs(name):
                log.take(text)
            return  # the server ends it when the job has ended
        except UnansweredError:
            await asyncio.sleep(_AGAIN_SECONDS)  # whether the cluster has gone is found out beside


async def wait_for_end(server: JobServer, name: str) -> Job:
    """Wait until a job has ended; raises like `follow`."""
    silent_since: float | None = None
    while True:
        try:
            job = await server.job(name)
        except (UnansweredError, IncompleteError) as error:
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > _GONE_SECONDS:
                raise IncompleteError(
                    f"the cluster at {server.url} has not answered for {_GONE_SECONDS:g} s ({error}); what is "
                    "committed is kept: submit again, there or on another cluster, and it goes on"
                ) from error
        else:
            silent_since = None
            if job is None:
                raise IncompleteError(f"the cluster at {server.url} does not know job {name} any more; submit again")
            if job.ended:
                return job
        await asyncio.sleep(_LOOK_SECONDS)


def check_ending(job: Job, result: dict[str, Any]) -> None:
    """Raise what a job that is not done ended with, so that who waited ends with the run's exit code.

    Args:
        job: The ended job.
        result: What the run printed as JSON; empty if it never came to that.

    Raises:
        SppError: Of the class of the run's exit code.
    """
    code = job.exit_code
    if job.state == "succeeded":
        return
    if job.state == "stopped":
        raise IncompleteError(f"job {job.id} was stopped; submit again: it goes on")
    if code in _NOT_FOUND:
        raise ConfigError(f"job {job.id}: the head has no command `sppnet`; install sppnet there, or run its image")
    if code is None:
        said = " ".join(job.message.split())[:300]
        raise IncompleteError(f"job {job.id} ended without its driver: {said}; submit again: it goes on")
    if not 0 < code < 128 or code == INTERRUPTED:
        number = -code if code < 0 else code - 128
        raise IncompleteError(f"job {job.id}: its driver was killed (signal {number}); submit again: it goes on")
    raise _BY_CODE.get(code, SppError)(f"job {job.id}: {result.get('error') or f'exit code {code}, see its log above'}")
