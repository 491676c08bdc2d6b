"""SIGKILL of a worker, then of the driver, in the middle of extract and of finetune, on a local Ray."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.small_demo import (
    HEAD_STEPS,
    RAY_AGENTS,
    SCALES,
    SLOW_SCALE,
    Command,
    Undisturbed,
    attempts,
    contents,
    last_step,
    overrides,
)

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def options() -> list[str]:
    return ["--cpus", "2", "--verbose", *overrides((*SCALES, SLOW_SCALE))]


def test_extract_goes_on_after_a_worker_and_the_driver_were_killed(
    undisturbed: Undisturbed, options: list[str], start: Callable[..., Command], tmp_path: Path
) -> None:
    workspace = undisturbed.copy_without(tmp_path / "workspace", "maps")
    maps = undisturbed.artifact("maps")
    commits = workspace / maps / "_commits"

    def committed() -> int:
        return len(list(commits.rglob("*.json")))

    run = start("run", "demo", "--workspace", str(workspace), *options)
    run.wait_until(committed)

    def killed_one() -> bool:
        """A worker that dies between its commit and its end has failed no unit: then another one has to die."""
        for worker in run.workers("ray::maps:extract")[:1]:
            worker.kill()
        end = time.monotonic() + 2
        while time.monotonic() < end and "unit try failed step=maps" not in run.errors:
            time.sleep(0.02)
        return "unit try failed step=maps" in run.errors

    run.wait_until(killed_one)
    at_kill = committed()
    run.wait_until(lambda: committed() >= at_kill + 2)
    run.kill_driver()
    assert run.leftovers(without=RAY_AGENTS) == []
    kept = attempts(str(workspace), maps)
    total = len(attempts(str(undisturbed.workspace), maps))
    assert at_kill + 2 <= len(kept) < total

    result = start("run", "demo", "--workspace", str(workspace), *options).finish()
    after = attempts(str(workspace), maps)
    assert {unit: after[unit] for unit in kept} == kept
    assert len(after) == total
    assert contents(str(workspace)) == contents(str(undisturbed.workspace))
    assert result["steps"] == undisturbed.result["steps"]
    assert run.leftovers(without=RAY_AGENTS) == []


def test_finetune_goes_on_after_a_worker_and_the_driver_were_killed(
    undisturbed: Undisturbed, options: list[str], start: Callable[..., Command], tmp_path: Path
) -> None:
    workspace = undisturbed.copy_without(tmp_path / "workspace", "head")
    head = undisturbed.artifact("head")
    checkpoints = workspace / head / "checkpoints"

    run = start("run", "demo", "--workspace", str(workspace), *options)
    run.wait_until(lambda: last_step(checkpoints))
    (worker,) = run.workers("RayTrainWorker")
    worker.kill()
    at_kill = last_step(checkpoints)
    # Found before it is far: while processes are listed, a hundred steps go by.
    (successor,) = run.wait_until(lambda: [one for one in run.workers("RayTrainWorker") if one.pid != worker.pid])
    run.wait_until(lambda: last_step(checkpoints) >= at_kill + 20)
    successor.suspend()  # it would not know for a second or two that its driver is gone, and might come to the end
    assert at_kill + 20 <= last_step(checkpoints) < HEAD_STEPS
    run.kill_driver()
    assert run.leftovers(without=(*RAY_AGENTS, "ray::RayTrainWorker")) == []
    with suppress(psutil.NoSuchProcess):  # mostly Ray has ended it
        successor.kill()
    assert f"{head}/model" not in attempts(str(workspace), head)

    again = start("run", "demo", "--workspace", str(workspace), *options)
    again.finish()
    assert contents(str(workspace)) == contents(str(undisturbed.workspace))
    assert not list(checkpoints.glob("step-*"))
    assert run.leftovers(without=RAY_AGENTS) == []
