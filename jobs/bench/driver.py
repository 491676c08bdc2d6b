"""The driver of a run on a large cluster: what a unit costs it, and what overlapping steps save.

The cluster is simulated (`jobs.bench.simulated_cluster`): its tasks take simulated time, so that hours of a hundred
machines pass in a minute. All else is real: the schedule, the pool of tasks, the commits, their listings.
The peer is the same run with one step after another.
"""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from unittest.mock import patch

import psutil

from jobs.bench.simulated_cluster import SimulatedCluster
from pipelines.engine.commits import Output
from pipelines.engine.executor import Job, OpenPhase, Outcome
from pipelines.engine.local_store import LocalStore
from pipelines.engine.phases import Phase, Resources
from pipelines.engine.planning import PlannedStep, plan
from pipelines.engine.recipe import parse_recipe
from pipelines.engine.registry import STAGES
from pipelines.engine.schedule import Schedule
from pipelines.engine.stage import RUNTIME, Input, Stage, StageConfig
from pipelines.engine.workspace import Workspace
from pipelines.executors.retries import Kind, RetryLimits
from pipelines.executors.task_pool import TaskPool

_NODES = {"gpu": {"CPU": 16.0, "GPU": 8.0}, "cpu": {"CPU": 16.0}}
_SECONDS: Mapping[str, float] = {"images": 5.0, "windows": 60.0, "maps": 30.0, "detections": 15.0}
"""What a unit of each step takes, about: a shard of 100 images on one GPU, or one CPU."""
_DEADLINE = 600.0
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # a folder in memory, where there is one
_SLOW = 4.0


class _ShardsConfig(StageConfig):
    """Config of the stage that stands for all that work shard by shard."""

    shards: int
    reads: Annotated[tuple[str, ...], Input(("shards",))] = ()
    step: str
    gpus: Annotated[float, RUNTIME] = 0


class _Shards(Stage[_ShardsConfig]):
    """Units that read the same unit of their inputs, and give next to nothing."""

    name: ClassVar[str] = "shards"
    makes: ClassVar[str] = "shards"
    config_type: ClassVar[type[StageConfig]] = _ShardsConfig
    streamed: ClassVar[frozenset[str]] = frozenset({"reads"})

    def reads(self, unit: str) -> Iterable[tuple[str, str]]:
        """Return the same unit of every input."""
        return [(artifact.name, unit) for artifact in self.inputs("reads")]

    def phases(self) -> list[Phase]:
        """Return one phase."""
        units = tuple(f"{number:06d}" for number in range(self.config.shards))
        return [Phase("shards", units, Resources(gpus=self.config.gpus, deadline_seconds=_DEADLINE))]

    def run(self, unit: str) -> Output:
        """Give a hundred keys."""
        return Output(unit.encode(), ".txt", rows=100, done=100)


class _StepByStep(_Shards):
    """The same, each step after those that it reads."""

    name: ClassVar[str] = "shards-whole"
    streamed: ClassVar[frozenset[str]] = frozenset()


class _Quiet:
    """Observes and counts nothing but retries."""

    def __init__(self) -> None:
        self.retries: Counter[Kind] = Counter()

    def step_started(self, step: PlannedStep, phases: Sequence[Phase], missing: Collection[str], total: int) -> None:
        """See `Observer`."""

    def unit_done(self, step: PlannedStep, phase: Phase, commit: Any) -> None:
        """See `Observer`."""

    def unit_failed(self, step: PlannedStep, phase: Phase, failure: Any) -> None:
        """See `Observer`."""

    def step_done(self, step: PlannedStep, summary: Any, seconds: float) -> None:
        """See `Observer`."""

    def count(self, job: Job, outcome: Outcome) -> None:
        """See `PoolMetrics`."""

    def count_retry(self, phase: OpenPhase, kind: Kind) -> None:
        """See `PoolMetrics`."""
        self.retries[kind] += 1

    def set_in_flight(self, phase: OpenPhase, tasks: int) -> None:
        """See `PoolMetrics`."""


def run(
    *,
    shards: int = 10_000,
    gpu_nodes: int = 8,
    cpu_nodes: int = 16,
    slow_nodes: int = 2,
    hanging: float = 0.001,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Measure the driver with four steps: images and windows on CPUs, maps and detections on GPUs.

    Args:
        shards: Units of each step.
        gpu_nodes: Nodes with 8 GPUs and 16 CPUs.
        cpu_nodes: Nodes with 16 CPUs.
        slow_nodes: How many of the nodes take four times as long.
        hanging: Fraction of tasks that never end, and are issued again at their deadline.
        seed: Of all that is random.

    Returns:
        One row: `units`, `workers` (GPUs), `driver_ms_per_unit` and `submissions_per_s` of this process' CPU time with
        the tasks' own taken off, `memory_mb` that it grew by, `listings`, `retries`, `noticed_s` (simulated, from a
        hanging task's start to its next issue), `hours` and `peer_hours` (simulated, with overlapping steps and one
        after another), their `ratio`, and `gpu_busy` and `peer_gpu_busy`, fractions of all GPUs' time.
    """
    nodes = [_NODES["gpu"]] * gpu_nodes + [_NODES["cpu"]] * cpu_nodes
    ours = _measure(_Shards, shards, nodes, slow_nodes, hanging, seed)
    peer = _measure(_StepByStep, shards, nodes, slow_nodes, hanging, seed)
    row = {"name": "driver", "workers": gpu_nodes * 8, **ours}
    row |= {"peer": "one step after another", "peer_hours": peer["hours"], "peer_gpu_busy": peer["gpu_busy"]}
    return [row | {"ratio": peer["hours"] / ours["hours"]}]


def _measure(
    kind: type[_Shards], shards: int, nodes: list[dict[str, float]], slow_nodes: int, hanging: float, seed: int
) -> dict[str, Any]:
    rng = random.Random(seed)
    slow = set(rng.sample(range(len(nodes)), slow_nodes))
    hung: dict[Job, float] = {}
    noticed: list[float] = []

    def seconds(job: Job, node: int) -> float:
        if job in hung:
            noticed.append(cluster.now() - hung.pop(job))
        elif rng.random() < hanging:
            hung[job] = cluster.now()
            return math.inf
        return _SECONDS[job.phase.spec.step] * rng.lognormvariate(0, 0.25) * (_SLOW if node in slow else 1.0)

    cluster = SimulatedCluster(nodes, seconds)
    quiet = _Quiet()
    process = psutil.Process()
    memory = process.memory_info().rss
    names = {stage.name: f"{stage.__module__}:{stage.__name__}" for stage in (_Shards, _StepByStep)}
    with patch.dict(STAGES, names), _counted_listings() as listings, tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        workspace = Workspace.open(folder)
        start = time.process_time()
        schedule = Schedule(plan(parse_recipe(_recipe(kind, shards), "bench driver"), workspace), quiet)
        schedule.open()
        pool = TaskPool(schedule, cluster, limits=RetryLimits(), metrics=quiet)
        with closing(pool.outcomes()) as outcomes:
            for job, outcome in outcomes:
                schedule.settle(job, outcome)
        schedule.check()
        spent = time.process_time() - start - cluster.worker_seconds
    units = 4 * shards
    gpus = sum(node.get("GPU", 0.0) for node in nodes)
    on_gpus = cluster.running["maps"] + cluster.running["detections"]
    return {
        "units": units,
        "driver_ms_per_unit": 1e3 * spent / units,
        "submissions_per_s": cluster.begun / spent,
        "memory_mb": (process.memory_info().rss - memory) / 1e6,
        "listings": len(listings),
        "retries": sum(quiet.retries.values()),
        "noticed_s": max(noticed, default=0.0),
        "hours": cluster.now() / 3600,
        "gpu_busy": on_gpus / (gpus * cluster.now()),
    }


def _recipe(kind: type[_Shards], shards: int) -> dict[str, Any]:
    common = {"stage": kind.name, "shards": shards}
    steps: dict[str, Any] = {
        "images": {**common, "step": "images"},
        "windows": {**common, "step": "windows", "reads": ["images"]},
        "maps": {**common, "step": "maps", "reads": ["images"], "gpus": 1},
        "detections": {**common, "step": "detections", "reads": ["windows", "maps"], "gpus": 1},
    }
    return {"version": 1, "name": "bench-driver", "seed": 0, "steps": steps}


@contextmanager
def _counted_listings() -> Iterator[list[Literal[1]]]:
    """Count the store's listings."""
    made: list[Literal[1]] = []
    real = LocalStore.list

    def counted(store: LocalStore, prefix: str = "") -> Any:
        made.append(1)
        return real(store, prefix)

    with patch.object(LocalStore, "list", counted):
        yield made
