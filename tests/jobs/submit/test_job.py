"""A run is the same job as long as it runs, and its next attempt after that."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from jobs.submit.job import Attempt, RunJob, ensure_running, running
from jobs.submit.server import JobServer
from tests.support.job_dashboard import Dashboard

RUN = RunJob("voc07", "s3://b/w/uploads/ab/recipe.yaml", "s3://b/w it's", ("--verbose",))


def ask(dashboard: Dashboard, what: Any) -> Any:
    async def inside() -> Any:
        async with JobServer(dashboard.url) as server:
            return await what(server, RUN)

    return asyncio.run(inside())


def test_the_id_follows_the_recipe_and_the_workspace_and_nothing_else() -> None:
    assert RUN.prefix.startswith("sppnet-voc07-")
    assert len(RUN.prefix) == len("sppnet-voc07-") + 12 + 1
    assert replace(RUN, options=()).prefix == RUN.prefix
    assert replace(RUN, workspace="s3://b/v").prefix != RUN.prefix
    assert replace(RUN, recipe="s3://b/w/uploads/ac/recipe.yaml").prefix != RUN.prefix


def test_the_entrypoint_is_quoted_for_the_heads_shell() -> None:
    assert RUN.entrypoint == (
        """sppnet run s3://b/w/uploads/ab/recipe.yaml --workspace 's3://b/w it'"'"'s' --json --verbose"""
    )


@pytest.mark.parametrize("status", ["PENDING", "RUNNING"])
def test_an_attempt_that_runs_is_followed(dashboard: Dashboard, status: str) -> None:
    dashboard.add(f"{RUN.prefix}2", status)
    dashboard.add(f"{RUN.prefix}1", "FAILED", 3)
    dashboard.add("sppnet-other-1", "RUNNING")
    assert ask(dashboard, ensure_running) == Attempt(f"{RUN.prefix}2", 2, started=False)
    assert ask(dashboard, running) == Attempt(f"{RUN.prefix}2", 2, started=False)
    assert dashboard.bodies == []


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "STOPPED"])
def test_an_attempt_that_has_ended_is_followed_by_the_next(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setattr("pipelines.executors.versions.__version__", "1.2.3")
    dashboard.add(f"{RUN.prefix}10", status)
    dashboard.add(f"{RUN.prefix}9", "FAILED")
    dashboard.add(f"{RUN.prefix}x", "RUNNING")
    assert ask(dashboard, running) is None
    assert ask(dashboard, ensure_running) == Attempt(f"{RUN.prefix}11", 11, started=True, before=status.lower())
    (body,) = dashboard.bodies
    assert body["entrypoint"] == RUN.entrypoint
    assert body["runtime_env"] == {"env_vars": {"SPPNET_RUN_VERSION": "1.2.3"}}


def test_who_loses_to_another_submit_gets_its_job(dashboard: Dashboard) -> None:
    dashboard.rival = f"{RUN.prefix}1"
    assert ask(dashboard, ensure_running) == Attempt(f"{RUN.prefix}1", 1, started=False)
    assert dashboard.bodies == []
