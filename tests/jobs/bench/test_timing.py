"""Both sides are timed in turn, and a row has their medians."""

from __future__ import annotations

import pytest
import torch

from jobs.bench import timing
from jobs.bench.timing import device_name, median_rates, medians, pairs_within, pick_device, seconds, timed_pairs

CPU = torch.device("cpu")


def test_medians_are_of_both_sides_and_the_ratio_of_the_pairs() -> None:
    pairs = [(1.0, 4.0), (2.0, 4.0), (10.0, 5.0)]
    spread = {"ratio": 2.0, "ratio_least": 0.5, "ratio_most": 4.0, "pairs": 3}
    assert medians(pairs) == {"ours_s": 2.0, "peer_s": 4.0, **spread}
    assert median_rates(pairs, 8) == {"ours_per_s": 4.0, "peer_per_s": 2.0, **spread}


def test_sides_take_turns() -> None:
    called: list[str] = []
    pairs = timed_pairs(lambda: called.append("ours"), lambda: called.append("peer"), 3, CPU)
    assert called == ["ours", "peer"] * 3
    assert len(pairs) == 3


def test_pairs_fill_the_time_but_are_a_few_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def takes(amount: float) -> None:
        clock[0] += amount

    assert pairs_within(lambda: takes(1.0), lambda: takes(2.0), 20.0, CPU) == [(1.0, 2.0)] * 7
    assert len(pairs_within(lambda: takes(1.0), lambda: takes(2.0), 0.1, CPU)) == 5


def test_seconds_are_those_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [5.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def work() -> None:
        clock[0] += 1.5

    assert seconds(work, CPU) == 1.5


def test_the_device_that_is_asked_for_is_taken() -> None:
    assert pick_device("cpu") == pick_device(CPU) == CPU
    assert device_name(CPU) == "cpu"
    assert pick_device(None).type == ("cuda" if torch.cuda.is_available() else "cpu")
