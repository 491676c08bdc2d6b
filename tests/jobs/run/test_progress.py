"""What a long command shows: plain lines in a log, bars on a terminal."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from jobs.run import progress
from jobs.run.progress import ProgressObserver
from pipelines.executors.local import LocalExecutor
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
    assert [line.split(" units")[0] for line in found] == [
        *(f"count/count: {number}/3" for number in (1, 2, 3)),
        *(f"raise/raise: {number}/3" for number in (1, 2, 3)),
        "raise/sum: 1/1",
    ]
    assert all(re.search(r"units, \d+\.\d+ (keys|units)/s, about \d+ s left$", line) for line in found)


def test_a_terminal_gets_bars(toys: Toys) -> None:
    lines = shown(toys, terminal=True)
    assert any("raise/raise" in line and "3/3" in line for line in lines)
    assert not any("s left" in line for line in lines)
