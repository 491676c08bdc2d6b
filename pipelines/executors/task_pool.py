"""Units as tasks of a cluster, with deadlines, bounded retries and re-issue; what the cluster is, it does not know.

The cluster retries nothing: this counts. A unit may run twice at once (a straggler and its second try), which is
harmless because the first commit wins.

Units on GPUs and units on CPUs alone have places of their own: two for each unit that can run at once, so that no slot
waits for the driver and an autoscaler sees demand. While there is work for GPUs, units on CPUs leave the CPUs free that
it takes, and those that GPUs wait for come first.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace

from pipelines.engine.commits import Commit
from pipelines.engine.executor import Job, OpenPhase, Outcome, WorkQueue
from pipelines.engine.phases import Needs, Resources
from pipelines.engine.store import StoreUnreachableError
from pipelines.engine.workspace import Workspace
from pipelines.executors.capacity import amounts_of
from pipelines.executors.retries import Kind, RetryLimits, UnitBook
from pipelines.executors.task_cluster import PoolMetrics, TaskCluster, TaskFailedError
from sppnet.errors import ArtifactError

logger = logging.getLogger(__name__)

_TICK_SECONDS = 2.0
_CAPACITY_SECONDS = 15.0
_START_SECONDS = 900.0
_IN_FLIGHT_PER_SLOT = 2
_EPSILON = 1e-9
_STORE_AWAY_SECONDS = 60.0
# Once so many jobs of a phase are done, a first try is late after so many times the longest of them, and not before.
_KNOWN_AFTER, _LATE_FACTOR, _LEAST_DEADLINE_SECONDS = 4, 20.0, 300.0


@dataclass(slots=True, eq=False)
class _Attempt:
    """One task in flight."""

    job: Job
    submitted: float
    first: bool = True
    started: float | None = None
    expired: bool = False


class _PhaseTasks:
    """What the units of a phase share: what one takes, how it is submitted, and how many are in flight."""

    def __init__(self, phase: OpenPhase, resources: Resources, cluster: TaskCluster) -> None:
        self.resources = resources
        self.amounts = amounts_of(resources)
        self.prepared = cluster.prepare(phase, resources, self.amounts)
        self.live = 0
        self.slots = 1.0
        self.artifact = Workspace.open(phase.spec.workspace).artifact(phase.spec.artifact)
        self._done, self._longest = 0, 0.0

    def note(self, seconds: float) -> None:
        """Note what a job took that is done."""
        self._done += 1
        self._longest = max(self._longest, seconds)

    def deadline(self, *, first: bool) -> float:
        """Return the seconds after which a try is late; a first one can be told from those that are done."""
        if not first or self._done < _KNOWN_AFTER:
            return self.resources.deadline_seconds
        return min(self.resources.deadline_seconds, max(_LEAST_DEADLINE_SECONDS, _LATE_FACTOR * self._longest))

    @property
    def on_gpu(self) -> bool:
        return "GPU" in self.amounts


class TaskPool:
    """The tasks of a run on their way through the cluster.

    Args:
        queue: Gives the units.
        cluster: Runs them.
        limits: How often a unit is tried.
        metrics: Count what happens.

    Raises:
        ConfigError: A step asks for more than the cluster has and can grow by.
    """

    def __init__(self, queue: WorkQueue, cluster: TaskCluster, *, limits: RetryLimits, metrics: PoolMetrics) -> None:
        self._queue = queue
        self._cluster = cluster
        self._capacity = cluster.capacity()
        self._looked = cluster.now()
        self._book = UnitBook(limits)
        self._in_flight: dict[Hashable, _Attempt] = {}
        self._phases: dict[OpenPhase, _PhaseTasks] = {}
        self._metrics = metrics
        self._ask_store_from = -math.inf
        for needs in queue.needs():
            self._capacity.check(needs)

    def outcomes(self) -> Generator[tuple[Job, Outcome], None, None]:
        """Yield each unit's commit or failure as it ends, until there is nothing to do and nothing in flight."""
        while True:
            self._submit()
            if not self._in_flight and not self._book.open:
                return
            for job, outcome in (*self._collect(), *self._expire()):
                self._metrics.count(job, outcome)
                yield job, outcome

    def cancel(self) -> None:
        """End every task that is still in flight."""
        for task in list(self._in_flight):
            self._drop(task)
        for phase in self._phases:
            self._metrics.set_in_flight(phase, 0)

    # --- submitting -----------------------------------------------------------------------------------------------

    def _submit(self) -> None:
        now = self._cluster.now()
        if now >= self._looked + _CAPACITY_SECONDS:
            self._capacity, self._looked = self._cluster.capacity(), now
            for tasks in self._phases.values():
                tasks.slots = self._slots(tasks)
        for job in self._book.take_due(now):
            self._issue(job, now, first=False)
        loads, shares = {kind: self._load(on_gpu=kind) for kind in (True, False)}, self._shares()
        while (taken := self._take(loads, shares)) is not None:
            self._book.begin(taken)
            self._issue(taken, now)
            tasks = self._tasks(taken.phase)
            loads[tasks.on_gpu] += 1 / tasks.slots
        for phase, tasks in self._phases.items():
            self._metrics.set_in_flight(phase, tasks.live)

    def _take(self, loads: Mapping[bool, float], shares: Mapping[bool, float]) -> Job | None:
        """Take a unit for a GPU if there is room and one is ready, else one for CPUs alone."""

        def on_gpu(phase: OpenPhase) -> bool:
            return self._tasks(phase).on_gpu

        starving = loads[True] + _EPSILON < shares[True]
        job = self._queue.take(on_gpu) if starving else None
        if job is not None or loads[False] + _EPSILON >= shares[False]:
            return job
        return self._queue.take(lambda phase: not on_gpu(phase), feeding=on_gpu if starving else None)

    def _issue(self, job: Job, now: float, *, first: bool = True) -> None:
        tasks = self._tasks(job.phase)
        self._in_flight[self._cluster.submit(tasks.prepared, job)] = _Attempt(job, now, first)
        tasks.live += 1

    def _tasks(self, phase: OpenPhase) -> _PhaseTasks:
        if phase not in self._phases:
            wanted = phase.phase.resources
            self._capacity.check(Needs(phase.spec.step, wanted))
            tasks = _PhaseTasks(phase, self._capacity.settle(wanted), self._cluster)
            tasks.slots = self._slots(tasks)
            self._phases[phase] = tasks
        return self._phases[phase]

    def _slots(self, tasks: _PhaseTasks) -> float:
        """Return how many units of a phase can run at once; at least one, which then waits for a node."""
        return max(1.0, self._capacity.slots(tasks.amounts))

    def _load(self, *, on_gpu: bool) -> float:
        """Return what is in flight of one kind, as a share of what can run at once."""
        return sum(tasks.live / tasks.slots for tasks in self._phases.values() if tasks.on_gpu == on_gpu)

    def _shares(self) -> dict[bool, float]:
        """Return how much may be in flight on GPUs, and on CPUs alone, as a share of what can run at once."""
        shares: dict[bool, float] = {True: _IN_FLIGHT_PER_SLOT, False: _IN_FLIGHT_PER_SLOT}
        phases = [tasks for phase in self._queue.open_phases() if (tasks := self._tasks(phase)).on_gpu]
        phases += [tasks for tasks in self._phases.values() if tasks.on_gpu and tasks.live]
        if phases:
            kept = max(tasks.slots * tasks.resources.cpus for tasks in phases)
            cpus = self._capacity.total("CPU") or 1.0
            shares[False] = max(1.0 / cpus, (cpus - kept) / cpus)
        return shares

    # --- collecting -----------------------------------------------------------------------------------------------

    def _collect(self) -> Iterator[tuple[Job, Outcome]]:
        """Wait a little for tasks that have news, and take them."""
        due, now = self._book.next_due(), self._cluster.now()
        tick = min((_TICK_SECONDS, *(phase.phase.resources.deadline_seconds / 4 for phase in self._phases)))
        patience = tick if due is None else min(max(due - now, 0.01), tick)
        for task in self._cluster.wait(list(self._in_flight), patience):
            if task not in self._in_flight:  # dropped with another try of its unit
                continue
            attempt = self._in_flight[task]
            job = attempt.job
            try:
                commits = self._cluster.news(task)
            except TaskFailedError as error:
                self._forget(task)
                yield from self._failed(job, error.kind, error.reason)
                continue
            if commits is None:
                attempt.started = self._cluster.now()
            else:
                if attempt.started is not None:
                    self._tasks(job.phase).note(self._cluster.now() - attempt.started)
                self._forget(task)
                self._close(job)
                yield from ((job, commit) for commit in commits)

    def _expire(self) -> Iterator[tuple[Job, Outcome]]:
        """Issue late units again; end tasks that are twice as late, or that never started."""
        now = self._cluster.now()
        for task, attempt in list(self._in_flight.items()):
            job = attempt.job
            deadline = self._tasks(job.phase).deadline(first=attempt.first)
            age = now - (attempt.submitted if attempt.started is None else attempt.started)
            if age <= deadline or not self._book.is_open(job):
                continue
            if attempt.started is None:
                # Its turn was to come after that long, and a node or a worker may be slow to come up.
                if age > max(_IN_FLIGHT_PER_SLOT * deadline, _START_SECONDS):
                    logger.warning("unit never started step=%s unit=%s; issued again", job.phase.spec.step, job.unit)
                    self._drop(task)
                    self._book.retry(job, now, at_once=True)
                continue
            if not attempt.expired:
                attempt.expired = True
                self._tasks(job.phase).live -= 1
                late = f"not finished {deadline:g} s after its start"
                yield from self._failed(job, "infrastructure", late, at_once=True)
            if age > 2 * deadline and task in self._in_flight:  # or tasks that hang would take every slot for good
                self._drop(task)

    def _failed(self, job: Job, kind: Kind, reason: str, *, at_once: bool = False) -> Iterator[tuple[Job, Outcome]]:
        """Count a failed try; put the unit back, or give it up, or find that it is committed after all."""
        tasks, step = self._tasks(job.phase), job.phase.spec.step
        logger.warning("unit try failed step=%s unit=%s kind=%s reason=%s", step, job.unit, kind, reason)
        self._metrics.count_retry(job.phase, kind)
        self._book.count_failure(job, kind, reason)
        if kind == "infrastructure" and (commits := self._committed(tasks, job)):
            self._close(job)
            yield from ((job, commit) for commit in commits)
            return
        others = any(a.job == job and not a.expired for a in self._in_flight.values())
        if others or self._book.is_waiting(job):
            return
        failure = self._book.exhausted(job)
        if failure is None:
            self._book.retry(job, self._cluster.now(), at_once=at_once)
            return
        self._close(job)
        yield from ((job, replace(failure, unit=unit)) for unit in job.units)

    def _committed(self, tasks: _PhaseTasks, job: Job) -> list[Commit]:
        """Return the commits of a job's units; none if one is not there, or where the store is away.

        Such a store takes its time to say so, and this holds up all units: it is not asked again for a while.
        """
        if self._cluster.now() < self._ask_store_from:
            return []
        try:
            return [tasks.artifact.commit(unit) for unit in job.units]
        except ArtifactError:
            return []
        except StoreUnreachableError:
            self._ask_store_from = self._cluster.now() + _STORE_AWAY_SECONDS
            return []

    def _close(self, job: Job) -> None:
        """End the account of a unit and every try of it."""
        self._book.close(job)
        for task, attempt in list(self._in_flight.items()):
            if attempt.job == job:
                self._drop(task)

    def _forget(self, task: Hashable) -> None:
        attempt = self._in_flight.pop(task)
        if not attempt.expired:
            self._tasks(attempt.job.phase).live -= 1

    def _drop(self, task: Hashable) -> None:
        self._forget(task)
        self._cluster.cancel(task)
