"""What an attempt leaves in its run's folder, however it ends."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from jobs.run.going import runs_at_work
from jobs.run.history import RunFolder, folder_of
from jobs.run.summary import RunSummary, read_summary
from sppnet.errors import ArtifactError, IncompleteError
from tests.support.recorded_runs import account, make
from tests.support.toy_fixtures import Toys


def recorded(engine: Any) -> RunSummary:
    folder = folder_of(engine)
    assert folder is not None
    found = read_summary(folder)
    assert found is not None
    return found


def test_a_complete_run(toys: Toys) -> None:
    made = make(toys.engine(refuse=5, max_quarantined=1.0))
    told = account(made.folder)
    assert (told["exit_code"], told["error"]) == (0, None)
    assert told["start"] <= told["end"]
    assert told["seconds"] == pytest.approx(made.seconds, abs=0.1)
    stages = told["result"]["stages"]
    assert list(stages) == ["count", "raise"]
    assert stages["count"] == {
        "artifact": toys.engine().steps[0].spec.artifact,
        "units": 3,
        "keys": 12,
        "done": 12,
        "quarantined": 0,
        "bytes": stages["count"]["bytes"],
        "worker_seconds": stages["count"]["worker_seconds"],
        "wall_seconds": stages["count"]["wall_seconds"],
    }
    assert stages["count"]["bytes"] == sum(
        path.stat().st_size for path in Path(toys.workspace).glob("numbers-*/all/*.json")
    )
    assert (stages["raise"]["keys"], stages["raise"]["quarantined"], stages["raise"]["done"]) == (12, 3, 9)
    assert read_summary(made.folder).state == "done"


def test_a_failed_run_tells_how_and_what_was_complete_before(toys: Toys) -> None:
    toys.marks.set("fail", "all/000001", 9)
    with pytest.raises(IncompleteError):
        make(toys.engine())
    failed = recorded(toys.engine())
    assert (failed.state, failed.exit_code) == ("failed (3)", 3)
    assert failed.error.startswith("step raise: 1 of ")
    assert list(failed.result.stages) == ["count"]
    events = folder_of(toys.engine()).events()
    assert [event["event"] for event in events if event["event"].startswith("run_")] == ["run_started", "run_failed"]
    (unit,) = [event for event in events if event["event"] == "unit_failed"]
    assert (unit["step"], unit["unit"]) == ("raise", "all/000001")


def test_running_again_goes_on_and_adds_up(toys: Toys) -> None:
    toys.marks.set("fail", "all/000001", 9)
    with pytest.raises(IncompleteError):
        make(toys.engine())
    failed = recorded(toys.engine())
    toys.marks.set("fail", "all/000001", 0)
    made = make(toys.engine())
    done = recorded(toys.engine())
    assert (done.state, done.error) == ("done", None)
    assert done.start == failed.start
    assert done.seconds == pytest.approx(failed.seconds + made.seconds, abs=0.1)
    assert list(done.result.stages) == ["count", "raise"]


def test_an_interrupted_run_is_told_too(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = toys.engine()

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(engine)
    assert recorded(toys.engine()).exit_code == 130


def test_while_it_runs_a_run_says_so(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    for attempt in range(2):
        engine = toys.engine()
        run = engine.run

        def watched(*arguments: Any, engine: Any = engine, run: Any = run) -> Any:
            store = engine.workspace.store
            (key,) = runs_at_work(store, time.time())
            assert RunFolder(store, key) == folder_of(engine)
            seen.append(recorded(toys.engine()).state)
            return run(*arguments)

        monkeypatch.setattr(engine, "run", watched)
        make(engine)
        assert recorded(toys.engine()).state == "done", attempt
        assert runs_at_work(engine.workspace.store, time.time()) == {}
    assert seen == ["running", "running"]


def test_an_end_that_can_not_be_recorded_hides_no_failure(
    toys: Toys, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    toys.marks.set("fail", "all/000001", 9)
    written: list[str] = []

    def write_once(folder: Any, summary: Any) -> None:
        if written:
            raise ArtifactError("the store is gone")
        written.append(summary.state)

    monkeypatch.setattr("jobs.run.making.write_summary", write_once)
    with pytest.raises(IncompleteError):
        make(toys.engine())
    assert written == ["running"]
    assert "the run's end can't be recorded: the store is gone" in caplog.text
