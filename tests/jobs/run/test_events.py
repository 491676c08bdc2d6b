"""Events are written to the run's folder, an attempt a file, at once where something failed."""

from __future__ import annotations

import pytest

from jobs.run import events
from jobs.run.events import EventLog
from jobs.run.history import start_run
from pipelines.executors.local import LocalExecutor
from sppnet.errors import IncompleteError
from tests.support.toy_fixtures import Toys
from tests.support.waiting import wait_for


def test_events_tell_what_was_made_and_how_long_it_took(toys: Toys) -> None:
    folder = start_run(toys.engine(refuse=5, max_quarantined=1.0))
    log = EventLog(folder)
    toys.engine(refuse=5, max_quarantined=1.0).run(LocalExecutor(), log)
    events = folder.events()
    assert [(event["event"], event["step"]) for event in events if event["event"].startswith("step")] == [
        ("step_started", "count"),
        ("step_done", "count"),
        ("step_started", "raise"),
        ("step_done", "raise"),
    ]
    units = {event["unit"]: event for event in events if event["event"] == "unit_done" and event["step"] == "raise"}
    assert set(units) == {"all/000000", "all/000001", "all/000002", "sum/0_1_2"}
    assert (units["all/000000"]["done"], units["all/000000"]["quarantined"]) == (3, 1)
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)


def test_a_complete_step_starts_nothing(toys: Toys) -> None:
    folder = start_run(toys.engine())
    toys.engine().run(LocalExecutor(), EventLog(folder))
    again = EventLog(folder)
    toys.engine().run(LocalExecutor(), again)
    assert len(folder.store.list(folder.path("events"))) == 2
    assert {event["event"] for event in folder.events()} <= {"step_done", "step_started", "unit_done"}


def test_a_failure_is_published_at_once(toys: Toys) -> None:
    toys.marks.set("fail", "all/000001", 9)
    folder = start_run(toys.engine())
    with pytest.raises(IncompleteError):
        toys.engine().run(LocalExecutor(), EventLog(folder))
    (failed,) = [event for event in folder.events() if event["event"] == "unit_failed"]
    assert (failed["step"], failed["unit"], failed["reason"]) == ("raise", "all/000001", "ValueError: told to fail")


def test_a_run_that_goes_on_writes_them_now_and_then(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "BEAT_SECONDS", 0.01)
    folder = start_run(toys.engine())
    log = EventLog(folder)
    log.record("run_started")
    log.begin()
    assert [event["event"] for event in folder.events()] == ["run_started"]
    log.record("unit_done")
    wait_for(lambda: len(folder.events()) == 2)
    log.record("run_done")
    log.end()
    assert [event["event"] for event in folder.events()] == ["run_started", "unit_done", "run_done"]
