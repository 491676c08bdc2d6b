"""A Ray cluster as what tasks are given to: remote functions, their news, and what kind of failure an error is."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from pipelines.engine.commits import Commit
from pipelines.engine.executor import Job, OpenPhase, one_line
from pipelines.engine.memory_faults import FEWER_UNITS, MemoryRanOutError
from pipelines.engine.phases import Resources
from pipelines.engine.stage import StageSpec
from pipelines.executors import ray_environment
from pipelines.executors.capacity import Capacity
from pipelines.executors.ray_work import import_ray, work
from pipelines.executors.task_cluster import TaskFailedError
from sppnet.errors import ArtifactError, ConfigError, IncompleteError, SppError

logger = logging.getLogger(__name__)

_FETCH_SECONDS = 60.0
# Exceptions of a unit's own code that tell of the machine or the network rather than of the unit.
_PASSING = (ConnectionError, TimeoutError, MemoryRanOutError)
_NODES_MEMORY = re.compile(r"node \(IP: ([^,)]+).*?was ([\d.]+ ?\w+)(?: used)? / ([\d.]+ ?\w+)", re.DOTALL)


class RayTasks:
    """The connected Ray cluster; see `pipelines.executors.task_cluster.TaskCluster`.

    Args:
        capacity: Looks at what the cluster has now.
        check: Is called while news are waited for, and raises if there is no use in it.
    """

    def __init__(self, capacity: Callable[[], Capacity], check: Callable[[], None]) -> None:
        self.capacity = capacity
        self._check = check
        self._specs: dict[Hashable, StageSpec] = {}

    def now(self) -> float:
        """See `TaskCluster.now`."""
        return time.monotonic()

    def prepare(self, phase: OpenPhase, resources: Resources, amounts: Mapping[str, float]) -> Any:
        """Return the remote function of a phase."""
        variables = ray_environment.thread_variables(resources.cpus)
        if "GPU" not in amounts:
            variables["CUDA_VISIBLE_DEVICES"] = ""  # or what takes none would sit on the first, beside what takes it
        options: dict[str, Any] = {
            "name": f"{phase.spec.step}:{phase.phase.name}",
            "num_cpus": resources.cpus,
            "num_gpus": amounts.get("GPU", 0),
            "max_retries": 0,
            "retry_exceptions": False,
            # 0: the process lives on with its model loaded. For GPU tasks Ray's own default is a new process each time.
            "max_calls": 0,
            "num_returns": "streaming",
            "scheduling_strategy": "SPREAD",
            "runtime_env": {"env_vars": variables},
        }
        if "memory" in amounts:
            options["memory"] = amounts["memory"]
        return import_ray().remote(**options)(work)

    def submit(self, prepared: Any, job: Job) -> Hashable:
        """See `TaskCluster.submit`."""
        task: Hashable = prepared.remote(job.phase.spec, job.units)
        self._specs[task] = job.phase.spec
        return task

    def wait(self, tasks: Sequence[Hashable], seconds: float) -> Sequence[Hashable]:
        """See `TaskCluster.wait`."""
        self._check()
        if not tasks:
            time.sleep(seconds)
            return ()
        ray = import_ray()
        ready, waiting = ray.wait(list(tasks), num_returns=1, timeout=seconds)
        if ready and waiting:  # all others that have news already, at once
            ready += ray.wait(waiting, num_returns=len(waiting), timeout=0)[0]
        return tuple(ready)

    def news(self, task: Any) -> tuple[Commit, ...] | None:
        """See `TaskCluster.news`."""
        ray = import_ray()
        try:
            found: tuple[Commit, ...] | None = ray.get(next(task), timeout=_FETCH_SECONDS)
        except (StopIteration, ray.exceptions.RayError) as error:
            raise _judge(error, self._specs.pop(task)) from error
        if found is not None:
            del self._specs[task]
        return found

    def cancel(self, task: Hashable) -> None:
        """See `TaskCluster.cancel`."""
        self._specs.pop(task, None)
        import_ray().cancel(task, force=True)


def _judge(error: BaseException, spec: StageSpec) -> Exception:
    """Return what a task's error is to the driver: a failure of a kind, or what no other try can escape."""
    known = import_ray().exceptions
    if isinstance(error, known.LocalRayletDiedError):  # this process's own node, by which it reaches all others
        return IncompleteError("Ray's node on this machine has died; finished units are kept, run again")
    if isinstance(error, known.OutOfMemoryError):
        return TaskFailedError("infrastructure", _told_memory(str(error)))
    if not isinstance(error, known.RayTaskError):
        return TaskFailedError("infrastructure", one_line(error))
    cause = getattr(error, "cause", error)
    if isinstance(cause, ConfigError):
        return cause
    text = str(cause)
    if "failed to import on the worker" in text or isinstance(cause, ModuleNotFoundError):
        missing = text.strip().splitlines()[-1]
        return ConfigError(
            f"step {spec.step}: a worker can't import the code ({missing}); install sppnet on every node; "
            "sppnet doctor --address tells which lacks it"
        )
    if isinstance(cause, _PASSING):
        return TaskFailedError("infrastructure", one_line(cause))
    if isinstance(cause, ArtifactError):
        return TaskFailedError("artifact", one_line(cause))
    if not isinstance(cause, SppError):  # a defect: its place is wanted
        logger.error("unit raised step=%s\n%s", spec.step, error)
    return TaskFailedError("application", one_line(cause))


def _told_memory(text: str) -> str:
    """Say in a line what Ray says of a node whose memory ran out."""
    found = _NODES_MEMORY.search(text)
    where = f"memory of node {found[1]} ran out ({found[2]} of {found[3]} used)" if found else "a node's memory ran out"
    return f"{where}, Ray ended the unit; {FEWER_UNITS}"
