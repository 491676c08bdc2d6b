"""A cluster that is none: nodes, tasks and a clock of its own, in this process, for the driver to be measured with.

It does what Ray does with tasks, in simulated time: first come, first served, each where its node has room.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

from pipelines.engine.commits import Commit
from pipelines.engine.executor import Job, OpenPhase
from pipelines.engine.phases import Resources
from pipelines.engine.work import run_units
from pipelines.executors.capacity import Amounts, Capacity
from pipelines.executors.task_cluster import TaskFailedError

Seconds = Callable[[Job, int], float]
"""How long a unit's task takes on a node of that number; infinity for one that hangs."""


@dataclass(eq=False)
class _Task:
    job: Job
    amounts: Amounts
    node: int | None = None
    ends: float = math.inf
    news: list[Literal["started", "done", "lost"]] = field(default_factory=list)
    gone: bool = False


class SimulatedCluster:
    """Nodes on which tasks take simulated time; see `pipelines.executors.task_cluster.TaskCluster`.

    Args:
        nodes: What each node has.
        seconds: How long tasks take.

    Attributes:
        worker_seconds: Real seconds of this process that went into the units themselves and into the simulation.
        begun: How many tasks were begun.
        running: By phase's name, the seconds in which its tasks ran, summed.
    """

    def __init__(self, nodes: Sequence[Amounts], seconds: Seconds) -> None:
        self._nodes = tuple(nodes)
        self._free = [dict(node) for node in nodes]
        self._seconds = seconds
        self._time = 0.0
        self._queue: deque[_Task] = deque()
        self._events: list[tuple[float, int, _Task]] = []
        self._numbers = count()
        self.worker_seconds = 0.0
        self.begun = 0
        self.running: dict[str, float] = {}

    def now(self) -> float:
        """Return simulated seconds."""
        return self._time

    def capacity(self) -> Capacity:
        """See `TaskCluster.capacity`."""
        return Capacity(self._nodes, where="the simulated cluster")

    def prepare(self, phase: OpenPhase, resources: Resources, amounts: Mapping[str, float]) -> Any:
        """Return what a task of the phase takes."""
        return dict(amounts)

    def submit(self, prepared: Any, job: Job) -> _Task:
        """See `TaskCluster.submit`."""
        task = _Task(job, prepared)
        self._queue.append(task)
        return task

    def wait(self, tasks: Sequence[Any], seconds: float) -> Sequence[Any]:
        """Let simulated time go on until a task has news."""
        start = time.process_time()
        found = self._wait(tasks, self._time + seconds)
        self.worker_seconds += time.process_time() - start
        return found

    def _wait(self, tasks: Sequence[_Task], end: float) -> list[_Task]:
        self._place()
        while not (found := [task for task in tasks if task.news]):
            if not self._events or self._events[0][0] > end:
                self._time = end
                return []
            self._step()
        return found

    def news(self, task: Any) -> tuple[Commit, ...] | None:
        """See `TaskCluster.news`; a unit is made when its end is told."""
        what = task.news.pop(0)
        if what == "started":
            return None
        if what == "lost":
            raise TaskFailedError("infrastructure", "NodeDiedError: the node is gone")
        start = time.process_time()
        commits = run_units(task.job.phase.spec, task.job.units)
        self.worker_seconds += time.process_time() - start
        return commits

    def cancel(self, task: Any) -> None:
        """See `TaskCluster.cancel`."""
        task.gone = True
        self._leave(task)

    def lose_node(self, number: int) -> None:
        """Take a node away: what runs on it is lost."""
        self._nodes = tuple({} if i == number else node for i, node in enumerate(self._nodes))
        self._free[number] = {}
        for _, _, task in self._events:
            if task.node == number and not task.gone:
                task.news.append("lost")
                task.gone, task.node = True, None

    def _place(self) -> None:
        """Begin what has room, the first come first; what has none lets others past, as Ray does with other shapes."""
        waiting: list[_Task] = []
        full: set[tuple[tuple[str, float], ...]] = set()
        while self._queue:
            task = self._queue.popleft()
            shape = tuple(sorted(task.amounts.items()))
            if task.gone:
                continue
            if shape in full or not self._begin(task):
                full.add(shape)
                waiting.append(task)
        self._queue.extend(waiting)

    def _begin(self, task: _Task) -> bool:
        for number, free in enumerate(self._free):
            if all(free.get(name, 0.0) + 1e-9 >= amount for name, amount in task.amounts.items()):
                for name, amount in task.amounts.items():
                    free[name] -= amount
                took = self._seconds(task.job, number)
                task.node, task.ends = number, self._time + took
                task.news.append("started")
                heapq.heappush(self._events, (task.ends, next(self._numbers), task))
                name = task.job.phase.spec.step
                self.running[name] = self.running.get(name, 0.0) + (took if math.isfinite(took) else 0.0)
                self.begun += 1
                return True
        return False

    def _step(self) -> None:
        """Go on to the end of the next task."""
        ends, _, task = heapq.heappop(self._events)
        if task.gone:
            return
        self._time = ends
        task.news.append("done")
        self._leave(task)
        self._place()

    def _leave(self, task: _Task) -> None:
        if task.node is None:
            return
        for name, amount in task.amounts.items():
            self._free[task.node][name] += amount
        task.node = None
