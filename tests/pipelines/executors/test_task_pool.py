"""The pool of tasks on a simulated cluster: who gets which place, what is late, what is lost."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from jobs.bench.simulated_cluster import SimulatedCluster
from pipelines.engine.commits import Commit
from pipelines.engine.executor import Job, OpenPhase, Outcome
from pipelines.engine.recipe import parse_recipe
from pipelines.engine.runner import Engine
from pipelines.engine.schedule import Schedule
from pipelines.engine.store import StoreUnreachableError
from pipelines.engine.workspace import Artifact, Workspace
from pipelines.executors.retries import Kind, RetryLimits
from pipelines.executors.task_pool import TaskPool
from sppnet.errors import ArtifactError, ConfigError, IncompleteError
from tests.support.toy_fixtures import Recorder, Toys

GPU_NODE = {"CPU": 4.0, "GPU": 2.0}
CPU_NODE = {"CPU": 4.0}


class Counted:
    """What a pool counts: retries, and how many tasks of a step were in flight at most."""

    def __init__(self) -> None:
        self.retries: list[tuple[str, Kind]] = []
        self.most: dict[str, int] = {}

    def count(self, job: Job, outcome: Outcome) -> None:
        pass

    def count_retry(self, phase: OpenPhase, kind: Kind) -> None:
        self.retries.append((phase.spec.step, kind))

    def set_in_flight(self, phase: OpenPhase, tasks: int) -> None:
        self.most[phase.spec.step] = max(self.most.get(phase.spec.step, 0), tasks)


def steps_of(shards: int, **halves: Any) -> dict[str, Any]:
    """`count` on CPUs, halved on GPUs (`half`), and on CPUs (`third`) shard by shard."""
    numbers = list(range(shards))
    return {
        "count": {"stage": "numbers", "shards": shards},
        "half": {"stage": "halves", "numbers": "count", "shards": numbers, "gpus": 1, **halves},
        "third": {"stage": "halves", "numbers": "count", "shards": numbers, "divisor": 3},
    }


def run(
    toys: Toys,
    cluster: SimulatedCluster,
    steps: dict[str, Any],
    limits: RetryLimits | None = None,
    between: Callable[[Job, Outcome], None] | None = None,
) -> tuple[Recorder, Counted]:
    raw = {"version": 1, "name": "toy", "seed": 0, "steps": steps}
    engine = Engine(parse_recipe(raw, "toy.yaml"), Workspace.open(toys.workspace))
    recorder, counted = Recorder(), Counted()
    schedule = Schedule(engine.steps, recorder)
    schedule.open()
    for job, outcome in TaskPool(schedule, cluster, limits=limits or RetryLimits(), metrics=counted).outcomes():
        schedule.settle(job, outcome)
        if between:
            between(job, outcome)
    schedule.check()
    return recorder, counted


def by_step(**seconds: float) -> Callable[[Job, int], float]:
    return lambda job, node: seconds[job.phase.spec.step]


def test_gpus_are_kept_busy_while_cpus_work(toys: Toys) -> None:
    """40 shards on 2 GPUs at 10 s are 200 s, and CPUs that have three times as much to do don't hold them up."""
    cluster = SimulatedCluster([GPU_NODE, CPU_NODE], by_step(count=1.0, half=10.0, third=30.0))
    recorder, counted = run(toys, cluster, steps_of(40))
    halves = [number for number, (step, _) in enumerate(recorder.done) if step == "half"]
    thirds = [number for number, (step, _) in enumerate(recorder.done) if step == "third"]
    assert len(halves) == len(thirds) == 40
    assert max(halves) < max(thirds)
    assert cluster.running == {"count": 40.0, "half": 400.0, "third": 1200.0}
    assert counted.most["half"] <= 4  # two a GPU
    assert 200 <= cluster.now() <= 260  # six CPUs are left for 1,240 s of work
    assert recorder.failed == []


def test_without_gpus_everything_shares_the_cpus(toys: Toys) -> None:
    cluster = SimulatedCluster([CPU_NODE, CPU_NODE], by_step(count=1.0, half=2.0, third=3.0))
    _, counted = run(toys, cluster, steps_of(40, gpus=0))
    assert cluster.now() == pytest.approx((40 * 6) / 8, rel=0.1)
    assert max(counted.most.values()) <= 2 * 8


def test_a_node_that_joins_late_gets_work(toys: Toys) -> None:
    cluster = SimulatedCluster([CPU_NODE], by_step(count=1.0, half=10.0, third=10.0))
    nodes: set[int] = set()
    real = cluster._seconds

    def seconds(job: Job, node: int) -> float:
        nodes.add(node)
        return real(job, node)

    cluster._seconds = seconds

    def join(job: Job, outcome: Outcome) -> None:
        if cluster.now() > 30 and len(cluster._nodes) == 1:
            cluster._nodes = (*cluster._nodes, CPU_NODE)
            cluster._free.append(dict(CPU_NODE))

    run(toys, cluster, steps_of(40, gpus=0), between=join)
    assert nodes == {0, 1}
    assert cluster.now() < 200  # 840 s of work on four CPUs would be 210 s


def test_a_node_that_goes_costs_its_tasks_a_try(toys: Toys) -> None:
    cluster = SimulatedCluster([CPU_NODE, CPU_NODE], by_step(count=1.0, half=10.0, third=10.0))

    def lose(job: Job, outcome: Outcome) -> None:
        if cluster.now() > 20 and cluster._nodes[1]:
            cluster.lose_node(1)

    recorder, counted = run(toys, cluster, steps_of(12, gpus=0), between=lose)
    assert len(recorder.done) == 36
    assert 1 <= len(counted.retries) <= 4
    assert {kind for _, kind in counted.retries} == {"infrastructure"}


def test_a_store_that_is_away_is_asked_once_for_all_that_a_node_took_along(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question takes a minute and a half to fail; eight units in a row were twelve minutes without a word."""
    cluster = SimulatedCluster([CPU_NODE, CPU_NODE], by_step(count=1.0, half=10.0, third=10.0))
    asked: list[str] = []
    real = Artifact.commit

    def commit(artifact: Artifact, unit: str) -> Commit:
        try:
            return real(artifact, unit)
        except ArtifactError:  # only of a unit that failed is it asked whether it is there
            asked.append(unit)
            raise StoreUnreachableError("it is away") from None

    def lose(job: Job, outcome: Outcome) -> None:
        if cluster.now() > 20 and cluster._nodes[1]:
            cluster.lose_node(1)

    monkeypatch.setattr(Artifact, "commit", commit)
    recorder, counted = run(toys, cluster, steps_of(16, gpus=0), between=lose)
    assert len(counted.retries) == 4
    assert len(asked) == 1
    assert len(recorder.done) == 48


def test_what_is_made_together_is_one_task_and_tried_again_together(toys: Toys) -> None:
    cluster = SimulatedCluster([CPU_NODE, CPU_NODE], by_step(count=1.0, half=10.0))
    steps = {name: steps_of(12, gpus=0, together=4)[name] for name in ("count", "half")}
    Workspace.open(toys.workspace).mark_version()
    run(toys, cluster, {"count": steps["count"]})
    before = cluster.begun

    def lose(job: Job, outcome: Outcome) -> None:
        if len(job.units) == 4 and cluster._nodes[1]:
            cluster.lose_node(1)

    recorder, counted = run(toys, cluster, steps, between=lose)
    assert sorted(recorder.done) == [("half", f"all/{number:06d}") for number in range(12)]
    assert cluster.begun - before == 3 + len(counted.retries)


def test_a_task_that_hangs_is_noticed_at_its_deadline_and_ended_at_twice_that(toys: Toys) -> None:
    begun: list[float] = []

    def seconds(job: Job, node: int) -> float:
        if job.phase.spec.step == "raise" and job.unit == "all/000001":
            begun.append(cluster.now())
            return math.inf if len(begun) == 1 else 5.0
        return 5.0

    cluster = SimulatedCluster([CPU_NODE], seconds)
    steps = {
        "count": {"stage": "numbers", "shards": 3},
        "raise": {"stage": "powers", "numbers": "count", "deadline": 60.0},
    }
    recorder, counted = run(toys, cluster, steps)
    assert len(recorder.done) == 7
    assert counted.retries == [("raise", "infrastructure")]
    assert 60 <= begun[1] - begun[0] <= 63  # looked at every two seconds


@pytest.mark.parametrize(("usual", "late_after"), [(5.0, 300.0), (40.0, 800.0), (400.0, 3600.0)])
def test_what_hangs_is_noticed_by_what_others_took(toys: Toys, usual: float, late_after: float) -> None:
    """The phase's own deadline is an hour; the second try has all of it, so what is long by nature gets done."""
    begun: list[float] = []

    def seconds(job: Job, node: int) -> float:
        if job.phase.spec.step != "raise" or job.unit != "all/000001":
            return usual
        begun.append(cluster.now())
        return math.inf if len(begun) == 1 else 3000.0

    cluster = SimulatedCluster([CPU_NODE], seconds)
    steps = {
        "count": {"stage": "numbers", "shards": 8},
        "raise": {"stage": "powers", "numbers": "count", "deadline": 3600.0, "shards": list(range(8))},
    }
    recorder, counted = run(toys, cluster, steps)
    assert len(recorder.done) == 17
    assert counted.retries == [("raise", "infrastructure")]
    assert late_after <= begun[1] - begun[0] <= late_after + 5


def test_what_is_late_every_time_is_given_up(toys: Toys) -> None:
    cluster = SimulatedCluster([CPU_NODE], lambda job, node: math.inf if job.phase.spec.step == "raise" else 1.0)
    steps = {
        "count": {"stage": "numbers", "shards": 1},
        "raise": {"stage": "powers", "numbers": "count", "deadline": 60.0, "shards": [0]},
    }
    with pytest.raises(IncompleteError, match=r"all/000000: not finished 60 s after its start \(4 tries\)"):
        run(toys, cluster, steps)
    assert 240 <= cluster.now() <= 250
    assert cluster._free[0]["CPU"] >= 2  # the tasks that were twice as late have been ended


def test_a_cluster_that_cant_give_it_is_refused_before_anything_runs(toys: Toys) -> None:
    cluster = SimulatedCluster([CPU_NODE], by_step(count=1.0, half=1.0, third=1.0))
    with pytest.raises(ConfigError, match=r"^step half: a unit asks for 1 CPU and 1 GPU, the simulated cluster has 4"):
        run(toys, cluster, steps_of(3))
    assert cluster.begun == 0
