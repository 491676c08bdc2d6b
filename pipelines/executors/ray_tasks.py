"""Units as stateless Ray tasks, with deadlines, bounded retries and re-issue.

Ray retries nothing here: the driver counts. A unit may run twice at once (a straggler and its second try), which is
harmless because the first commit wins.

Units on GPUs and units on CPUs alone have places of their own: two for each unit that can run at once, so that no slot
waits for the driver and an autoscaler sees demand. While there is work for GPUs, units on CPUs leave the CPUs free that
it takes, and those that GPUs wait for come first.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.engine.executor import Job, OpenPhase, Outcome, WorkQueue, one_line
from pipelines.engine.stage import Needs, Resources, StageSpec
from pipelines.engine.store import StoreUnreachableError
from pipelines.engine.workspace import Commit, Workspace
from pipelines.executors import ray_environment
from pipelines.executors.capacity import Capacity, amounts_of
from pipelines.executors.ray_metrics import TaskMetrics
from pipelines.executors.ray_work import import_ray, work
from pipelines.executors.retries import Kind, RetryLimits, UnitBook
from sppnet.errors import ArtifactError, ConfigError, SppError

logger = logging.getLogger(__name__)

_TICK_SECONDS = 2.0
_CAPACITY_SECONDS = 15.0
_FETCH_SECONDS = 60.0
_START_SECONDS = 900.0
_IN_FLIGHT_PER_SLOT = 2
_EPSILON = 1e-9
# Exceptions of a unit's own code that tell of the machine or the network rather than of the unit.
_PASSING = (ConnectionError, TimeoutError, MemoryError)


@dataclass(slots=True, eq=False)
class _Attempt:
    """One task in flight."""

    job: Job
    submitted: float
    started: float | None = None
    expired: bool = False


class _PhaseTasks:
    """What the units of a phase share: what one takes, the remote function, and how many are in flight."""

    def __init__(self, phase: OpenPhase, resources: Resources) -> None:
        self.resources = resources
        self.amounts = amounts_of(resources)
        self.remote = _remote_work(phase, resources, self.amounts)
        self.tags = {"step": phase.spec.step, "phase": phase.phase.name}
        self.live = 0
        self.slots = 1.0
        self.artifact = Workspace.open(phase.spec.workspace).artifact(phase.spec.artifact)

    @property
    def on_gpu(self) -> bool:
        return "GPU" in self.amounts


class TaskPool:
    """The tasks of a run on their way through the cluster.

    Args:
        queue: Gives the units.
        capacity: Looks at what the cluster has now.
        limits: How often a unit is tried.
        metrics: Count what happens.
    """

    def __init__(
        self, queue: WorkQueue, capacity: Callable[[], Capacity], *, limits: RetryLimits, metrics: TaskMetrics
    ) -> None:
        self._queue = queue
        self._look = capacity
        self._capacity = capacity()
        self._looked = time.monotonic()
        self._book = UnitBook(limits)
        self._in_flight: dict[Any, _Attempt] = {}
        self._phases: dict[OpenPhase, _PhaseTasks] = {}
        self._metrics = metrics
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
        for generator in list(self._in_flight):
            self._drop(generator)
        for tasks in self._phases.values():
            self._metrics.in_flight.set(0, tags=tasks.tags)

    # --- submitting -----------------------------------------------------------------------------------------------

    def _submit(self) -> None:
        now = time.monotonic()
        if now >= self._looked + _CAPACITY_SECONDS:
            self._capacity, self._looked = self._look(), now
            for tasks in self._phases.values():
                tasks.slots = self._slots(tasks)
        for job in self._book.take_due(now):
            self._issue(job, now)
        loads, shares = {kind: self._load(on_gpu=kind) for kind in (True, False)}, self._shares()
        while (taken := self._take(loads, shares)) is not None:
            self._book.begin(taken)
            self._issue(taken, now)
            tasks = self._tasks(taken.phase)
            loads[tasks.on_gpu] += 1 / tasks.slots
        for tasks in self._phases.values():
            self._metrics.in_flight.set(tasks.live, tags=tasks.tags)

    def _take(self, loads: Mapping[bool, float], shares: Mapping[bool, float]) -> Job | None:
        """Take a unit for a GPU if there is room and one is ready, else one for CPUs alone."""

        def on_gpu(phase: OpenPhase) -> bool:
            return self._tasks(phase).on_gpu

        starving = loads[True] + _EPSILON < shares[True]
        job = self._queue.take(on_gpu) if starving else None
        if job is not None or loads[False] + _EPSILON >= shares[False]:
            return job
        return self._queue.take(lambda phase: not on_gpu(phase), feeding=on_gpu if starving else None)

    def _issue(self, job: Job, now: float) -> None:
        tasks = self._tasks(job.phase)
        self._in_flight[tasks.remote.remote(job.phase.spec, job.unit)] = _Attempt(job, now)
        tasks.live += 1

    def _tasks(self, phase: OpenPhase) -> _PhaseTasks:
        if phase not in self._phases:
            wanted = phase.phase.resources
            self._capacity.check(Needs(phase.spec.step, wanted))
            tasks = _PhaseTasks(phase, self._capacity.settle(wanted))
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
        ray = import_ray()
        due = self._book.next_due()
        tick = min(
            (_TICK_SECONDS, *(a.job.phase.phase.resources.deadline_seconds / 4 for a in self._in_flight.values()))
        )
        patience = tick if due is None else min(max(due - time.monotonic(), 0.01), tick)
        if not self._in_flight:
            time.sleep(patience)
            return
        ready, waiting = ray.wait(list(self._in_flight), num_returns=1, timeout=patience)
        if ready and waiting:  # all others that have news already, at once
            ready += ray.wait(waiting, num_returns=len(waiting), timeout=0)[0]
        for generator in ready:
            if generator not in self._in_flight:  # dropped with another try of its unit
                continue
            attempt = self._in_flight[generator]
            job = attempt.job
            try:
                commit: Commit | None = ray.get(next(generator), timeout=_FETCH_SECONDS)
            except (StopIteration, ray.exceptions.RayError) as error:
                self._forget(generator)
                yield from self._failed(job, *_judge(error, job.phase.spec))
                continue
            if commit is None:
                attempt.started = time.monotonic()
            else:
                self._forget(generator)
                self._close(job)
                yield job, commit

    def _expire(self) -> Iterator[tuple[Job, Outcome]]:
        """Issue late units again; end tasks that are twice as late, or that never started."""
        now = time.monotonic()
        for generator, attempt in list(self._in_flight.items()):
            job = attempt.job
            deadline = job.phase.phase.resources.deadline_seconds
            age = now - (attempt.submitted if attempt.started is None else attempt.started)
            if age <= deadline or not self._book.is_open(job):
                continue
            if attempt.started is None:
                # Its turn was to come after that long, and a node or a worker may be slow to come up.
                if age > max(_IN_FLIGHT_PER_SLOT * deadline, _START_SECONDS):
                    logger.warning("unit never started step=%s unit=%s; issued again", job.phase.spec.step, job.unit)
                    self._drop(generator)
                    self._book.retry(job, now, at_once=True)
                continue
            if age > 2 * deadline:  # or tasks that hang would take every slot for good
                self._drop(generator)
            if not attempt.expired:
                attempt.expired = True
                self._tasks(job.phase).live -= 1
                late = f"not finished {deadline:g} s after its start"
                yield from self._failed(job, "infrastructure", late, at_once=True)

    def _failed(self, job: Job, kind: Kind, reason: str, *, at_once: bool = False) -> Iterator[tuple[Job, Outcome]]:
        """Count a failed try; put the unit back, or give it up, or find that it is committed after all."""
        tasks, step = self._tasks(job.phase), job.phase.spec.step
        logger.warning("unit try failed step=%s unit=%s kind=%s reason=%s", step, job.unit, kind, reason)
        self._metrics.retried.inc(tags={**tasks.tags, "kind": kind})
        self._book.count_failure(job, kind, reason)
        if kind == "infrastructure" and (commit := _committed(tasks, job.unit)) is not None:
            self._close(job)
            yield job, commit
            return
        others = any(a.job == job and not a.expired for a in self._in_flight.values())
        if others or self._book.is_waiting(job):
            return
        failure = self._book.exhausted(job)
        if failure is None:
            self._book.retry(job, time.monotonic(), at_once=at_once)
            return
        self._close(job)
        yield job, failure

    def _close(self, job: Job) -> None:
        """End the account of a unit and every try of it."""
        self._book.close(job)
        for generator, attempt in list(self._in_flight.items()):
            if attempt.job == job:
                self._drop(generator)

    def _forget(self, generator: Any) -> None:
        attempt = self._in_flight.pop(generator)
        if not attempt.expired:
            self._tasks(attempt.job.phase).live -= 1

    def _drop(self, generator: Any) -> None:
        self._forget(generator)
        import_ray().cancel(generator, force=True)


def _committed(tasks: _PhaseTasks, unit: str) -> Commit | None:
    try:
        return tasks.artifact.commit(unit)
    except (ArtifactError, StoreUnreachableError):
        return None


def _remote_work(phase: OpenPhase, resources: Resources, amounts: Mapping[str, float]) -> Any:
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


def _judge(error: BaseException, spec: StageSpec) -> tuple[Kind, str]:
    """Tell what kind of failure a task's error is, in one line; raise what no other try can escape."""
    if not isinstance(error, import_ray().exceptions.RayTaskError):
        return "infrastructure", one_line(error)
    cause = getattr(error, "cause", error)
    if isinstance(cause, ConfigError):
        raise cause from error
    text = str(cause)
    if "failed to import on the worker" in text or isinstance(cause, ModuleNotFoundError):
        missing = text.strip().splitlines()[-1]
        raise ConfigError(
            f"step {spec.step}: a worker can't import the code ({missing}); install sppnet on every node, "
            "or submit the run as a Ray job with its working_dir"
        ) from error
    if isinstance(cause, _PASSING):
        return "infrastructure", one_line(cause)
    if isinstance(cause, ArtifactError):
        return "artifact", one_line(cause)
    if not isinstance(cause, SppError):  # a defect: its place is wanted
        logger.error("unit raised step=%s\n%s", spec.step, error)
    return "application", one_line(cause)
