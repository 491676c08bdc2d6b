"""The dashboard's jobs, and every wrong address, token and version in one line."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import TypeVar

import pytest

from jobs.submit.server import Job, JobServer, UnansweredError, dashboard_url
from sppnet.errors import ConfigError, IncompleteError, SppError
from tests.support.job_dashboard import Dashboard

T = TypeVar("T")


def ask(url: str, what: Callable[[JobServer], Awaitable[T]]) -> T:
    async def inside() -> T:
        async with JobServer(url) as server:
            return await what(server)

    return asyncio.run(inside())


def refusal(url: str, error: type[SppError] = ConfigError) -> str:
    with pytest.raises(error) as caught:
        ask(url, JobServer.check)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (None, "--address: submit needs a cluster; give the URL of the head's dashboard, such as http://HOST:8265"),
        (
            "head:6379",
            "submit takes a URL; give the URL of the head's dashboard, such as http://HOST:8265 (host:port is",
        ),
        ("auto", "--address auto: submit takes a URL; "),
        ("ray://head:10001", "--address ray://head:10001: submit takes a URL; "),
        ("http://", "--address http://: give the URL of the head's dashboard"),
        ("http://head:port", "--address http://head:port: give the URL of the head's dashboard"),
        ("http://me:secret@head:8265", "--address: give no password in the URL; the token comes from RAY_AUTH_TOKEN"),
    ],
)
def test_what_is_no_dashboards_url_is_refused(address: str | None, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        dashboard_url(address)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_dashboards_url_may_end_in_a_slash() -> None:
    assert dashboard_url("https://head/ray/") == "https://head/ray"


def test_a_dashboard_of_the_same_ray_passes(dashboard: Dashboard) -> None:
    ask(dashboard.url, JobServer.check)
    dashboard.ray = ".".join([*version("ray").split(".")[:2], "99"])
    ask(dashboard.url, JobServer.check)


def test_another_ray_is_refused(dashboard: Dashboard) -> None:
    dashboard.ray = "2.9.3"
    assert refusal(dashboard.url).startswith(f"the cluster at {dashboard.url} runs Ray 2.9.3, and this sppnet needs 2.")


def test_a_dead_address_is_refused() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert refusal(url) == f"no Ray at {url}: Connection refused; check the address, and that Ray's head runs there"


def test_something_else_that_answers_is_refused(dashboard: Dashboard) -> None:
    said = "is not Ray's dashboard; give the URL of the head's dashboard, such as http://HOST:8265"
    other = f"{dashboard.url}/other"
    assert refusal(other) == f"what answers at {other} {said}"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "wrong"}, "refuses the token: it is not that of its head"),
        ({}, "asks for a token, but RAY_AUTH_MODE is disabled here"),
    ],
)
def test_what_is_wrong_with_a_token_is_told(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    dashboard.token = "right"
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert refusal(dashboard.url).startswith(f"Ray at {dashboard.url} {said}")


def test_the_right_token_is_let_in(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    dashboard.token = "right"
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "right")
    ask(dashboard.url, JobServer.check)


def test_jobs_are_listed_looked_up_started_once_and_stopped(dashboard: Dashboard) -> None:
    dashboard.add("old", "FAILED", 3, "why")
    assert ask(dashboard.url, JobServer.jobs) == [Job("old", "failed", 3, "why")]
    assert ask(dashboard.url, lambda server: server.job("none")) is None
    assert ask(dashboard.url, lambda server: server.submit("new", "sppnet run x", {"A": "b"}))
    assert dashboard.bodies == [
        {"submission_id": "new", "entrypoint": "sppnet run x", "runtime_env": {"env_vars": {"A": "b"}}}
    ]
    assert not ask(dashboard.url, lambda server: server.submit("new", "sppnet run x", {}))
    assert ask(dashboard.url, lambda server: server.job("new")) == Job("new", "running")
    ask(dashboard.url, lambda server: server.stop("new"))
    job = ask(dashboard.url, lambda server: server.job("new"))
    assert job is not None
    assert (job.state, job.ended) == ("stopped", True)


async def read(server: JobServer) -> list[str]:
    return [text async for text in server.logs("any")]


def test_a_log_is_read_to_its_end_and_a_broken_connection_is_told(dashboard: Dashboard) -> None:
    dashboard.logs = [["a\n", "b\n"], ["a\n", None]]
    assert ask(dashboard.url, read) == ["a\n", "b\n"]
    with pytest.raises(UnansweredError):
        ask(dashboard.url, read)


def test_a_cluster_that_can_not_says_why(dashboard: Dashboard) -> None:
    dashboard.jobs["x"] = {"submission_id": "x"}
    with pytest.raises(
        IncompleteError, match=r"could not POST /api/jobs/: ValueError: Job with submission_id x already"
    ):
        ask(
            dashboard.url,
            lambda server: server._ask("POST", "/api/jobs/", {"submission_id": "x", "entrypoint": ""}),
        )
