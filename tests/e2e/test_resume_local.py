"""Runs in one process, killed in the middle, and two of them at once: they all end as the undisturbed run did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.small_demo import (
    HEAD_STEPS,
    SCALES,
    SLOW_SCALE,
    Command,
    Undisturbed,
    attempts,
    contents,
    last_step,
    orphans,
    overrides,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

DOWNSTREAM_OF_HEAD = ("head", "svms-fc7", "fc7", "metrics")


@pytest.fixture
def options() -> list[str]:
    return overrides((*SCALES, SLOW_SCALE))


def test_killed_in_extract(
    undisturbed: Undisturbed, options: list[str], start: Callable[..., Command], tmp_path: Path
) -> None:
    workspace = undisturbed.copy_without(tmp_path / "workspace", "maps")
    maps = undisturbed.artifact("maps")
    run = start("run", "demo", "--local", "--workspace", str(workspace), *options)
    commits = workspace / maps / "_commits"
    run.wait_until(lambda: len(list(commits.rglob("*.json"))) >= 3)
    run.kill_driver()
    kept = attempts(str(workspace), maps)
    total = len(attempts(str(undisturbed.workspace), maps))
    assert 3 <= len(kept) < total

    result = start("run", "demo", "--local", "--workspace", str(workspace), *options).finish()
    after = attempts(str(workspace), maps)
    assert {unit: after[unit] for unit in kept} == kept
    assert len(after) == total
    assert contents(str(workspace)) == contents(str(undisturbed.workspace))
    assert result["steps"] == undisturbed.result["steps"]


def test_killed_in_finetune(
    undisturbed: Undisturbed, options: list[str], start: Callable[..., Command], tmp_path: Path
) -> None:
    workspace = undisturbed.copy_without(tmp_path / "workspace", *DOWNSTREAM_OF_HEAD)
    head = undisturbed.artifact("head")
    run = start("run", "demo", "--local", "--workspace", str(workspace), *options)
    checkpoints = workspace / head / "checkpoints"
    run.wait_until(lambda: last_step(checkpoints) >= 50)
    run.kill_driver()
    assert f"{head}/model" not in attempts(str(workspace), head)
    reached = last_step(checkpoints)
    assert 50 <= reached < HEAD_STEPS

    again = start("run", "demo", "--local", "--verbose", "--workspace", str(workspace), *options)
    again.finish()
    assert f"training resumes step={reached} of={HEAD_STEPS}" in again.errors
    assert contents(str(workspace)) == contents(str(undisturbed.workspace))
    assert not list(checkpoints.glob("step-*"))


def test_two_drivers_at_once_make_one_set_of_artifacts(
    undisturbed: Undisturbed, options: list[str], start: Callable[..., Command], tmp_path: Path
) -> None:
    workspace = str(tmp_path / "workspace")
    runs = [start("run", "demo", "--local", "--workspace", workspace, *options) for _ in range(2)]
    results = [run.finish() for run in runs]
    assert results[0]["steps"] == results[1]["steps"] == undisturbed.result["steps"]
    assert contents(workspace) == contents(str(undisturbed.workspace))
    assert orphans(workspace) == []
