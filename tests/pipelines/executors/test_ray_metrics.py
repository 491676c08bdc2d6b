"""What is counted for Prometheus, by name and tags: the board and the alerts rest on them."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from pipelines.engine.activity import Activity, moved
from pipelines.engine.commits import Commit, Quarantined
from pipelines.engine.executor import Job, OpenPhase, UnitFailure
from pipelines.engine.phases import Phase
from pipelines.engine.stage import StageSpec
from pipelines.executors.ray_metrics import TaskMetrics, WorkerMetrics

SPEC = StageSpec("w", "maps", "maps-1", '{"stage": "extract"}', (), 0)


class Recorded:
    """Stands for Ray's counters and gauges."""

    calls: list[tuple[str, float, dict[str, str]]]

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        self.name, self.tag_keys = name, tag_keys

    def inc(self, value: float = 1.0, tags: dict[str, str] | None = None) -> None:
        assert set(tags or {}) == set(self.tag_keys)
        self.calls.append((self.name, value, dict(tags or {})))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, dict[str, str]]]:
    Recorded.calls = []
    metrics = ModuleType("ray.util.metrics")
    vars(metrics).update(Counter=Recorded, Gauge=Recorded)
    for name in ("ray", "ray.util"):  # Ray itself is not imported: it would take its settings from the environment now
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, metrics.__name__, metrics)
    return Recorded.calls


def commit(done: int, *quarantined: Quarantined) -> Commit:
    return Commit("u", "a", None, 0, None, 0, done, quarantined, 1.0, {}, "h", 0.0, {})


def job(**phase: Any) -> Job:
    return Job(OpenPhase(SPEC, Phase("extract", ("u",), **phase)), "u")


def test_a_commit_counts_its_images_and_what_the_step_itself_set_aside(calls: list[Any]) -> None:
    aside = [Quarantined(str(i), "too-large", "", "extract") for i in range(2)]
    TaskMetrics().count(job(), commit(5, *aside, Quarantined("x", "truncated", "", "ingest")))
    assert calls == [
        ("sppnet_units_done", 1.0, {"step": "maps", "phase": "extract"}),
        ("sppnet_images_done", 5, {"step": "maps"}),
        ("sppnet_keys_quarantined", 2, {"step": "maps", "reason": "too-large"}),
    ]


def test_a_unit_without_keys_and_one_that_failed(calls: list[Any]) -> None:
    metrics, tags = TaskMetrics(), {"step": "maps", "phase": "extract"}
    metrics.count(job(keyed=False), commit(5))
    metrics.count(job(), UnitFailure("u", "no", 2))
    assert calls == [("sppnet_units_done", 1.0, tags), ("sppnet_units_failed", 1.0, tags)]


def test_a_worker_counts_bytes_and_seconds(calls: list[Any]) -> None:
    activity = Activity()
    moved("read", 100)
    WorkerMetrics().count("maps", activity)
    (read, *rest) = calls
    assert read == ("sppnet_bytes_read", 100, {"step": "maps"})
    assert [(name, tags) for name, _, tags in rest] == [("sppnet_seconds", {"step": "maps", "activity": "unit"})]
    assert rest[0][1] > 0
