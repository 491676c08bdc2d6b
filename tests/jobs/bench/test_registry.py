"""Measures are found by name, and get the options that they know."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.bench import pool
from jobs.bench.registry import measure, measure_names
from sppnet.errors import ConfigError


def test_options_reach_the_measure_and_none_is_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []

    def run(*, repeats: int = 7, windows: int = 5) -> list[dict[str, Any]]:
        given.append({"repeats": repeats, "windows": windows})
        return []

    monkeypatch.setattr(pool, "run", run)
    assert measure("pool", repeats=None, windows=3) == []
    assert given == [{"repeats": 7, "windows": 3}]


def test_what_is_not_there_is_told_with_what_is() -> None:
    names = ["convolve", "driver", "extract", "gpu", "mine", "pool", "pretrain", "proposals", "rcnn", "views"]
    assert measure_names() == names
    with pytest.raises(ConfigError, match=f"no measure 'pol'; there are: {', '.join(names)}"):
        measure("pol")
    with pytest.raises(ConfigError, match="bench pool: no option 'speed'; there are: repeats, windows, device, seed"):
        measure("pool", speed=1)
