"""What a long command shows: plain lines in a log, bars on a terminal."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from jobs.run import progress
from jobs.run.progress import ProgressObserver
from pipelines.engine.commits import Commit
from pipelines.executors.local import LocalExecutor
from pipelines.training.progress import TrainingProgress
from sppnet.errors import IncompleteError
from tests.support.toy_fixtures import Toys


def shown(toys: Toys, *, terminal: bool = False, **powers: object) -> list[str]:
    sink = io.StringIO()
    observer = ProgressObserver(Console(file=sink, width=120, force_terminal=terminal, highlight=False))
    try:
        toys.engine(**powers).run(LocalExecutor(), observer)
    finally:
        observer.close()
    return sink.getvalue().splitlines()


def test_steps_and_quarantined_keys_are_lines_of_a_log(toys: Toys) -> None:
    lines = [re.sub(r"\d+\.\d s$", "T s", line) for line in shown(toys, refuse=8, max_quarantined=1.0)]
    numbers, powers = (step.spec.artifact for step in toys.engine(refuse=8, max_quarantined=1.0).steps)
    assert lines == [
        f"count: 3 of 3 units to make ({numbers})",
        "count: done, 3 units, T s",
        f"raise: 4 of 4 units to make ({powers})",
        "raise: quarantined 0: refused: 0 is refused",
        "raise: quarantined 8: refused: 8 is refused",
        "raise: done, 4 units, 2 quarantined, T s",
    ]


def test_what_is_there_is_counted_and_a_complete_step_only_summed_up(toys: Toys) -> None:
    toys.marks.set("fail", "all/000001", 1)
    with pytest.raises(IncompleteError):
        shown(toys)
    lines = shown(toys)
    assert [line for line in lines if "to make" in line] == [
        f"raise: 2 of 4 units to make, 2 committed before ({toys.engine().steps[1].spec.artifact})"
    ]
    assert not any("to make" in line for line in shown(toys))


def test_a_failure_is_said_at_once(toys: Toys) -> None:
    toys.marks.set("fail", "all/000001", 1)
    sink = io.StringIO()
    with pytest.raises(IncompleteError):
        toys.engine().run(LocalExecutor(), ProgressObserver(Console(file=sink, width=120)))
    assert "raise: all/000001 failed after 1 tries: ValueError: told to fail" in sink.getvalue()


def test_now_and_then_a_log_says_how_far_it_is(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY_SECONDS", -1.0)
    found = [line for line in shown(toys) if "left" in line]
    assert [line.split(" units")[0][9:] for line in found] == [
        *(f"count/count: {number}/3" for number in (1, 2, 3)),
        *(f"raise/raise: {number}/3" for number in (1, 2, 3)),
        "raise/sum: 1/1",
    ]
    assert all(re.search(r"^[\d:]{8} .*units, \d+\.\d+ (keys|units)/s, about [\d.]+ s left$", line) for line in found)


def test_what_was_committed_before_is_no_part_of_what_is_left(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    toys.marks.set("fail", "all/000001", 1)
    with pytest.raises(IncompleteError):
        shown(toys)
    monkeypatch.setattr(progress, "_LINE_EVERY_SECONDS", -1.0)
    found = [line.split(" units")[0][9:] for line in shown(toys) if "left" in line]
    assert found == ["raise/raise: 1/1", "raise/sum: 1/1"]


def test_time_left_goes_by_what_units_cost() -> None:
    """Of three units the one that costs two thirds is done after 10 s: 5 s are left, not 20."""
    phase = progress._Phase({"large": 4.0, "small": 1.0, "tiny": 1.0}, started=time.monotonic() - 10)
    phase.note(Commit("large", "a", None, 0, None, 0, 3, (), 10.0, {}, "here", 0.0, {}))
    assert phase.seconds_left() == pytest.approx(5, abs=0.5)
    assert (phase.done, phase.total) == (1, 3)


def test_a_training_tells_step_rate_and_time_left(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY_SECONDS", -1.0)
    sink = io.StringIO()
    observer = ProgressObserver(Console(file=sink, width=160))
    told = TrainingProgress(1200, 3000, 0.3125, 0.001, "windows", 812.4, 95.0, 0.0)
    observer._training_told("head", told)
    observer.close()
    assert sink.getvalue()[9:] == (
        "head/train: 1,200/3,000 steps, 812 windows/s, loss 0.3125, lr 0.001, about 1 min 35 s left\n"
    )


def test_a_terminal_gets_bars_and_those_of_what_is_done_go_away(toys: Toys) -> None:
    toys.marks.set("fail", "all/000001", 1)
    sink = io.StringIO()
    observer = ProgressObserver(Console(file=sink, width=120, force_terminal=True, highlight=False))
    with pytest.raises(IncompleteError):
        toys.engine().run(LocalExecutor(), observer)
    observer.close()
    shown = sink.getvalue().rpartition("\r")[2]  # as it was drawn last
    assert "raise/raise" in shown
    assert "2/3" in shown
    assert "count/count" not in shown
