"""The simulated cluster is what the pool is measured with: it must keep time and places as a real one does."""

from __future__ import annotations

import math

import pytest

from jobs.bench.simulated_cluster import SimulatedCluster
from pipelines.engine.executor import Job, OpenPhase
from pipelines.engine.phases import Phase
from pipelines.executors.local import LocalExecutor
from pipelines.executors.task_cluster import TaskFailedError
from tests.support.toy_fixtures import Toys

UNITS = [f"all/{i:06d}" for i in range(3)]


@pytest.fixture
def phase(toys: Toys) -> OpenPhase:
    toys.run(LocalExecutor(), wanted=[])
    return OpenPhase(toys.engine().steps[1].spec, Phase("raise", tuple(UNITS)))


def test_tasks_run_where_there_is_room_and_time_goes_on(phase: OpenPhase) -> None:
    cluster = SimulatedCluster([{"CPU": 1.0}, {"CPU": 1.0}], lambda job, node: 10.0 + node)
    tasks = [cluster.submit({"CPU": 1.0}, Job(phase, unit)) for unit in UNITS]
    assert list(cluster.wait(tasks, 1.0)) == tasks[:2]
    assert [cluster.news(task) for task in tasks[:2]] == [None, None]
    assert cluster.wait(tasks, 5.0) == []
    assert cluster.now() == 5.0
    assert list(cluster.wait(tasks, 100.0)) == [
        tasks[0],
        tasks[2],
    ]  # one has ended, and the third has begun in its place
    assert cluster.now() == 10.0
    assert [commit.unit for commit in cluster.news(tasks[0]) or ()] == [UNITS[0]]
    assert cluster.begun == 3


def test_a_task_that_hangs_keeps_its_place_until_it_is_ended(phase: OpenPhase) -> None:
    cluster = SimulatedCluster([{"CPU": 1.0}], lambda job, node: math.inf)
    first, second = (cluster.submit({"CPU": 1.0}, Job(phase, unit)) for unit in UNITS[:2])
    cluster.wait([first, second], 1.0)
    assert cluster.news(first) is None
    assert cluster.wait([first, second], 100.0) == []
    cluster.cancel(first)
    assert list(cluster.wait([second], 1.0)) == [second]


def test_what_runs_on_a_node_that_goes_is_lost(phase: OpenPhase) -> None:
    cluster = SimulatedCluster([{"CPU": 1.0}], lambda job, node: 5.0)
    task = cluster.submit({"CPU": 1.0}, Job(phase, UNITS[0]))
    cluster.wait([task], 1.0)
    assert cluster.news(task) is None
    cluster.lose_node(0)
    with pytest.raises(TaskFailedError, match="node is gone") as caught:
        cluster.news(task)
    assert caught.value.kind == "infrastructure"
    assert cluster.capacity().total("CPU") == 0
