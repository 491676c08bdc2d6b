"""A cluster's dashboard as far as it takes jobs, over Ray's documented HTTP API, with a time limit on every request."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

from pipelines.executors.ray_address import check_listening
from pipelines.executors.ray_token import auth_token, refused
from sppnet.errors import ConfigError, IncompleteError

_ANSWER_SECONDS = 12.0
"""Below a third of the time after which a cluster counts as gone."""
_SUBMIT_SECONDS = 60.0
"""A head that is busy starts a job's supervisor before it answers."""
_USUAL = "give the URL of the head's dashboard, such as http://HOST:8265"


class UnansweredError(Exception):
    """The dashboard did not answer, or lost the connection."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the cluster knows it.

    Attributes:
        id: Its submission id.
        state: `pending`, `running`, `succeeded`, `failed` or `stopped`.
        exit_code: That of its driver; None while it runs, and where it had no end of its own.
        message: What Ray says about its state.
    """

    id: str
    state: str
    exit_code: int | None = None
    message: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in ("succeeded", "failed", "stopped")

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Job:
        """Read one of the API's job details."""
        return cls(
            str(raw.get("submission_id")),
            str(raw.get("status")).lower(),
            raw.get("driver_exit_code"),
            raw.get("message") or "",
        )


def dashboard_url(address: str | None) -> str:
    """Check the address of a dashboard, and return it without a slash at its end.

    Raises:
        ConfigError: It is none, or that of something else.
    """
    if not address:
        raise ConfigError(f"--address: submit needs a cluster; {_USUAL}")
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https"):
        raise ConfigError(f"--address {address}: submit takes a URL; {_USUAL} (host:port is for sppnet run)")
    if parts.username or parts.password:
        raise ConfigError("--address: give no password in the URL; the token comes from RAY_AUTH_TOKEN")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if not parts.hostname or port == 0:
        raise ConfigError(f"--address {address}: {_USUAL}")
    return address.rstrip("/")


class JobServer:
    """The jobs of one cluster; an asynchronous context that holds its connections.

    Args:
        url: As `dashboard_url` returns it.

    Raises:
        ConfigError: The token that the environment asks for is not there.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._token = auth_token()
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        self._session = aiohttp.ClientSession(headers=headers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def check(self) -> None:
        """Find out whether it takes this process's jobs.

        Raises:
            ConfigError: Nobody listens, something else answers, the token is wrong or missing, or Ray is another
                version there.
        """
        parts = urlsplit(self.url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        check_listening(str(parts.hostname), port, self.url, "check the address, and that Ray's head runs there")
        try:
            found = (await self._ask("GET", "/api/version"))["ray_version"]
        except (UnansweredError, LookupError, TypeError) as error:
            raise ConfigError(f"what answers at {self.url} is not Ray's dashboard; {_USUAL}") from error
        here = version("ray")
        if _minor(found) != _minor(here):
            raise ConfigError(
                f"the cluster at {self.url} runs Ray {found}, and this sppnet needs {_minor(here)}: use its image on "
                "the cluster, or the sppnet of the cluster's image here"
            )

    async def jobs(self) -> list[Job]:
        """List the jobs that were submitted, of any state."""
        return [Job.parse(one) for one in await self._ask("GET", "/api/jobs/") if one.get("submission_id")]

    async def job(self, name: str) -> Job | None:
        """Look a job up by its submission id; None if the cluster does not know it."""
        found = await self._ask("GET", f"/api/jobs/{name}", missing=True)
        return None if found is None else Job.parse(found)

    async def submit(self, name: str, entrypoint: str, variables: Mapping[str, str]) -> bool:
        """Start a job.

        Args:
            name: Its submission id.
            entrypoint: The command that the head runs in a shell.
            variables: Environment variables of the job; no secrets, they are shown to whoever looks.

        Returns:
            Whether it was started; False if there is one of that id.
        """
        body = {"submission_id": name, "entrypoint": entrypoint, "runtime_env": {"env_vars": dict(variables)}}
        found = await self._ask("POST", "/api/jobs/", body, seconds=_SUBMIT_SECONDS, taken=True)
        return found is not None

    async def stop(self, name: str) -> None:
        """Ask a job to end; its driver is given a few seconds, and is killed then."""
        await self._ask("POST", f"/api/jobs/{name}/stop", seconds=_SUBMIT_SECONDS)

    async def logs(self, name: str) -> AsyncIterator[str]:
        """Yield what a job writes, from its beginning until it has ended.

        Raises:
            UnansweredError: The connection was lost before.
        """
        try:
            async with self._session.ws_connect(f"{self.url}/api/jobs/{name}/logs/tail") as socket:
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        yield message.data
                if socket.close_code != aiohttp.WSCloseCode.OK:
                    raise UnansweredError(f"the log's connection was closed ({socket.close_code})")
        except (aiohttp.ClientError, OSError) as error:
            raise UnansweredError(str(error)) from error

    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        seconds: float = _ANSWER_SECONDS,
        missing: bool = False,
        taken: bool = False,
    ) -> Any:
        """Make a request and return its answer.

        Args:
            method: HTTP's.
            path: Below the URL.
            body: Sent as JSON.
            seconds: After so long it counts as unanswered.
            missing: Whether to return None for what is not there.
            taken: Whether to return None for a name that is taken.

        Raises:
            UnansweredError: There was no answer, or none of the API's.
            ConfigError: The token is wrong or missing.
            IncompleteError: The cluster could not do it.
        """
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._session.request(method, self.url + path, json=body, timeout=timeout) as answer:
                text = await answer.text()
                if answer.status in (401, 403):
                    raise refused(self.url, self._token)
                if missing and answer.status == 404:
                    return None
                if taken and answer.status != 200 and "already exists" in text:
                    return None
                if answer.status >= 500:
                    last = text.strip().splitlines()[-1:] or [answer.reason or ""]
                    raise IncompleteError(f"Ray at {self.url} could not {method} {path}: {last[0]}")
                if answer.status != 200:
                    raise UnansweredError(f"HTTP {answer.status}")
                return await answer.json()
        except (aiohttp.ClientError, OSError, ValueError) as error:  # a time limit ends in an OSError
            raise UnansweredError(str(error) or type(error).__name__) from error


def _minor(number: str) -> str:
    found = re.match(r"\d+\.\d+", number)
    return found[0] if found else number
