"""Laps are summed by name, and time between them that no part is named for counts for none."""

from __future__ import annotations

import itertools
import time

import pytest
import torch

from pipelines.engine.stopwatch import Stopwatch


def test_laps_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.accumulate([0.0, 1.0, 10.0, 2.0, 4.0, 100.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    watch = Stopwatch(torch.device("cpu"))  # at 0
    watch.lap("pool")  # 1
    watch.lap()  # 10 that are nobody's
    watch.lap("svm")  # 2
    watch.lap("pool")  # 4
    assert watch.figures() == {"pool_seconds": 5.0, "svm_seconds": 2.0}
