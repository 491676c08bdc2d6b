"""What a run is doing that goes on, as another process finds it out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from jobs.run.events import EventLog
from jobs.run.going import going_on
from jobs.run.history import start_run
from jobs.run.running import activity
from jobs.run.status import status_table
from pipelines.engine.codec import encode
from pipelines.engine.phases import Phase
from pipelines.engine.runner import StepStatus
from pipelines.engine.workspace import Workspace
from pipelines.executors.local import LocalExecutor
from pipelines.training.progress import TrainingProgress
from sppnet.errors import IncompleteError
from tests.support.recorded_runs import make
from tests.support.toy_fixtures import Toys


@contextmanager
def going(toys: Toys) -> Iterator[None]:
    """Leaves a run as it is in the midst of its second step: of five units two are made, and it has not ended."""
    toys.marks.set("fail", "all/000001", 1)
    engine = toys.engine(refuse=4)
    folder = start_run(engine)
    log = EventLog(folder)
    with going_on(folder, engine.steps):
        with pytest.raises(IncompleteError):
            engine.run(LocalExecutor(), log)
        log.flush()
        yield


def test_a_run_that_goes_on_tells_phase_rate_and_time_left(toys: Toys) -> None:
    with going(toys):
        table, fields = status_table(toys.engine(refuse=4))
    assert fields["running"]
    images, powers = (row["now"] for row in fields["steps"])
    assert images is None, "it has ended"
    assert (powers["phase"], powers["done"], powers["total"]) == ("raise", 2, 3)
    assert powers["keys_per_second"] > 0
    assert powers["seconds_left"] >= 0
    assert list(table.columns[8].cells)[1].startswith("raise: 2/3, ")
    assert list(table.columns[8].cells)[1].endswith(" left")


def test_a_run_that_is_silent_for_long_has_ended(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.run.going.FRESH_SECONDS", -60.0)
    with going(toys):
        _, fields = status_table(toys.engine(refuse=4))
    assert not fields["running"]
    assert [row["now"] for row in fields["steps"]] == [None, None]


def test_a_run_that_has_ended_does_nothing(toys: Toys) -> None:
    make(toys.engine())
    _, fields = status_table(toys.engine())
    assert (fields["running"], [row["now"] for row in fields["steps"]]) == (False, [None, None])


def events_of(*made: tuple[str, float, float]) -> list[dict[str, object]]:
    """A step that began at 0, and units by name, time of their end and seconds; five keys each, of which one is bad."""
    began = {"event": "step_started", "step": "raise", "time": 0.0}
    done = {"event": "unit_done", "step": "raise", "phase": "mine", "done": 4, "reasons": {"truncated": 1}}
    return [began, *({**done, "unit": unit, "time": at, "seconds": seconds} for unit, at, seconds in made)]


def test_time_left_goes_by_what_units_cost(toys: Toys) -> None:
    phase = Phase("mine", ("a", "b", "c", "d"), costs=(4.0, 4.0, 1.0, 1.0))
    status = StepStatus(toys.engine().steps[1], 2, 4, None, phases=(phase,), made=frozenset("ab"))
    found = activity(status, events_of(("a", 110.0, 10.0), ("b", 120.0, 10.0)))
    assert found is not None
    assert (found.done, found.total, found.reasons) == (2, 4, {"truncated": 2})
    assert found.keys_per_second == 0.4  # 8 keys in 20 s
    assert found.seconds_left == 5.0  # 8 of 10 took 20 s
    assert found.describe() == "mine: 2/4, 0.4 keys/s, 5.0 s left"


def test_a_training_is_asked_itself(toys: Toys) -> None:
    step = toys.engine().steps[1]
    status = StepStatus(step, 0, 1, None, phases=(Phase("train", ("weights",), workers=2),))
    silent = activity(status, events_of())
    assert silent is not None
    assert silent.describe() == "train: 0/1"
    told = TrainingProgress(1200, 3000, 0.3125, 0.001, "windows", 812.4, 95.0, time.time(), ({"step": 1180},))
    store = Workspace.open(step.spec.workspace).store
    store.put(f"{step.spec.artifact}/checkpoints/progress.json", encode(told))
    found = activity(status, events_of())
    assert found is not None
    assert found.describe() == "train: 1,200/3,000 steps, 812 windows/s, loss 0.3125, lr 0.001, 1 min 35 s left"
    assert found.fields()["training"]["loss"] == 0.3125
    store.put(f"{step.spec.artifact}/checkpoints/progress.json", encode(replace(told, time=time.time() - 3600)))
    assert activity(status, events_of()) == silent, "of an attempt that was killed"


def test_a_step_that_has_not_begun_does_nothing(toys: Toys) -> None:
    status = StepStatus(toys.engine().steps[1], 0, 1, None, phases=(Phase("mine", ("a",)),))
    assert activity(status, []) is None
