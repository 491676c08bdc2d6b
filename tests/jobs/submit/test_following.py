"""A log is told once, a job is followed to its end, and the end is the run's."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from jobs.submit import following
from jobs.submit.following import Log, check_ending, follow, wait_for_end
from jobs.submit.server import Job, JobServer
from sppnet.errors import ArtifactError, ConfigError, IncompleteError, SppError, TooManyQuarantinedError
from tests.support.job_dashboard import Dashboard

END = '{"command": "run", "exit_code": 0, "report": "s3://b/report.html"}'


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(following, "_AGAIN_SECONDS", 0.02)


def follow_once(dashboard: Dashboard, log: Log) -> Job:
    async def inside() -> Job:
        async with JobServer(dashboard.url) as server:
            return await follow(server, "job", log)

    return asyncio.run(inside())


def test_each_line_is_told_once_and_the_runs_json_is_kept() -> None:
    lines: list[str] = []
    log = Log(lines.append)
    log.take("one\ntw")
    log.rewind()
    log.take("one")
    log.take("\ntwo\r\n{no json\n" + END)
    assert lines == ["one", "two", "{no json"]
    log.rewind()
    log.take("one\ntwo\r\n{no json\n" + END + "\nlast")
    log.close()
    assert lines == ["one", "two", "{no json", "last"]
    assert log.result["report"] == "s3://b/report.html"


def test_what_only_looks_like_the_runs_json_is_told() -> None:
    lines: list[str] = []
    Log(lines.append).take('{"command": "run", broken\n')
    assert lines == ['{"command": "run", broken']


def test_a_log_is_followed_through_broken_connections(dashboard: Dashboard) -> None:
    dashboard.add("job", "RUNNING")
    dashboard.logs = [["a\n", None], ["a\n", "b\n", None], ["a\nb\n", f"c\n{END}\n"]]
    lines: list[str] = []

    def end_when_told() -> None:
        while dashboard.logs:
            time.sleep(0.01)
        dashboard.add("job", "SUCCEEDED", 0)

    ender = threading.Thread(target=end_when_told)
    ender.start()
    log = Log(lines.append)
    assert follow_once(dashboard, log) == Job("job", "succeeded", 0)
    ender.join()
    assert lines == ["a", "b", "c"]
    assert log.result["exit_code"] == 0


def test_a_job_that_is_forgotten_is_told(dashboard: Dashboard) -> None:
    with pytest.raises(IncompleteError) as caught:
        follow_once(dashboard, Log(print))
    assert str(caught.value) == f"the cluster at {dashboard.url} does not know job job any more; submit again"


def test_a_cluster_that_goes_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_GONE_SECONDS", 0.1)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")

    async def inside() -> None:
        async with JobServer("http://127.0.0.1:1") as server:
            await wait_for_end(server, "job")

    with pytest.raises(IncompleteError) as caught:
        asyncio.run(inside())
    message = str(caught.value)
    assert message.startswith("the cluster at http://127.0.0.1:1 has not answered for 0.1 s (")
    assert message.endswith("what is committed is kept: submit again, there or on another cluster, and it goes on")


@pytest.mark.parametrize(
    ("code", "error", "result", "said"),
    [
        (2, ConfigError, {"error": "no such recipe"}, "job j: no such recipe"),
        (3, IncompleteError, {"error": "2 units failed"}, "job j: 2 units failed"),
        (4, TooManyQuarantinedError, {"error": "18 of 18"}, "job j: 18 of 18"),
        (5, ArtifactError, {"error": "corrupt"}, "job j: corrupt"),
        (1, SppError, {}, "job j: exit code 1, see its log above"),
        (127, ConfigError, {}, "job j: the head has no command `sppnet`; install sppnet there, or run its image"),
        (-9, IncompleteError, {}, "job j: its driver was killed (signal 9); submit again: it goes on"),
        (137, IncompleteError, {}, "job j: its driver was killed (signal 9); submit again: it goes on"),
        (130, IncompleteError, {}, "job j: its driver was killed (signal 2); submit again: it goes on"),
        (None, IncompleteError, {}, "job j ended without its driver: node died; submit again: it goes on"),
    ],
)
def test_the_end_of_a_job_is_the_runs(
    code: int | None, error: type[SppError], result: dict[str, str], said: str
) -> None:
    with pytest.raises(SppError) as caught:
        check_ending(Job("j", "failed", code, "node\ndied"), result)
    assert (type(caught.value), str(caught.value)) == (error, said)


def test_a_stopped_job_is_incomplete_and_a_done_one_is_done() -> None:
    check_ending(Job("j", "succeeded", 0), {})
    with pytest.raises(IncompleteError, match=r"^job j was stopped; submit again: it goes on$"):
        check_ending(Job("j", "stopped"), {})
