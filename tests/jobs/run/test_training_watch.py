"""Looking how far trainings are, from another process than theirs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from jobs.run import training_watch
from jobs.run.training_watch import TrainingWatch
from pipelines.engine.codec import encode
from pipelines.engine.planning import PlannedStep
from pipelines.engine.workspace import Workspace
from pipelines.training.progress import TrainingProgress
from tests.support.toy_fixtures import Toys
from tests.support.waiting import wait_for

Told = list[tuple[str, TrainingProgress]]
NOW = TrainingProgress(3, 10, 0.5, 0.1, "images", 20.0, 7.0, 0.0)


@pytest.fixture
def seen() -> Told:
    return []


@pytest.fixture
def watch(seen: Told, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrainingWatch]:
    monkeypatch.setattr(training_watch, "LOOK_SECONDS", 0.01)
    found = TrainingWatch(lambda step, progress: seen.append((step, progress)))
    yield found
    found.close()


def tell(step: PlannedStep, progress: TrainingProgress) -> TrainingProgress:
    store = Workspace.open(step.spec.workspace).store
    store.put(f"{step.spec.artifact}/checkpoints/progress.json", encode(progress))
    return progress


def test_what_is_new_is_told_once(toys: Toys, watch: TrainingWatch, seen: Told) -> None:
    step = toys.engine().steps[1]
    first = tell(step, replace(NOW, time=time.time()))
    watch.add(step)
    wait_for(lambda: seen)
    second = tell(step, replace(NOW, step=4, time=time.time() + 1))
    wait_for(lambda: len(seen) > 1)
    time.sleep(0.1)
    assert seen == [("raise", first), ("raise", second)]


def test_what_a_killed_attempt_left_is_passed_over(toys: Toys, watch: TrainingWatch, seen: Told) -> None:
    step = toys.engine().steps[1]
    tell(step, replace(NOW, time=time.time() - 3600))
    watch.add(step)
    time.sleep(0.1)
    assert seen == []
    fresh = tell(step, replace(NOW, step=1, time=time.time()))
    wait_for(lambda: seen)
    assert seen == [("raise", fresh)]


def test_a_step_that_has_ended_is_looked_at_no_more(toys: Toys, watch: TrainingWatch, seen: Told) -> None:
    step = toys.engine().steps[1]
    watch.add(step)
    watch.remove(step)
    tell(step, replace(NOW, time=time.time()))
    time.sleep(0.1)
    assert seen == []
