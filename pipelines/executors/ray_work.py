"""What a task does on a worker: it makes a unit, and counts what that took."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from pipelines.engine.activity import Activity
from pipelines.engine.commits import Commit
from pipelines.engine.stage import StageSpec
from pipelines.engine.work import run_units
from pipelines.executors.versions import check_version


def import_ray() -> Any:
    """Import Ray, once its environment is set; untyped, as most of its functions are."""
    import ray

    return ray


def work(spec: StageSpec, units: tuple[str, ...]) -> Iterator[tuple[Commit, ...] | None]:
    """Make units. The first item says that the task has started, which a queued one has not; then their commits."""
    yield None
    check_version()
    activity = Activity()
    try:
        commits = run_units(spec, units)
    finally:
        _worker_metrics().count(spec.step, activity)
    yield commits


@cache
def _worker_metrics() -> Any:
    """Return this process's counters: Ray exports them from the node that it runs on."""
    from pipelines.executors.ray_metrics import WorkerMetrics

    return WorkerMetrics()
