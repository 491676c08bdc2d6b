"""A phase of units as stateless Ray tasks, with deadlines, bounded retries and re-issue.

Ray retries nothing here: the driver counts. A unit may run twice at once (a straggler and its second try), which is
harmless because the first commit wins.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.engine.executor import UnitFailure, one_line
from pipelines.engine.stage import Phase, StageSpec
from pipelines.engine.store import StoreUnreachableError
from pipelines.engine.work import run_unit
from pipelines.engine.workspace import Commit, Workspace
from pipelines.executors import ray_environment
from pipelines.executors.retries import Kind, RetryLimits, UnitBook
from pipelines.executors.versions import check_version
from sppnet.errors import ArtifactError, ConfigError, SppError

logger = logging.getLogger(__name__)

_TICK_SECONDS = 2.0
_CAPACITY_SECONDS = 15.0
_FETCH_SECONDS = 60.0
_START_SECONDS = 900.0
_IN_FLIGHT_PER_SLOT = 2
# Exceptions of a unit's own code that tell of the machine or the network rather than of the unit.
_PASSING = (ConnectionError, TimeoutError, MemoryError)


def import_ray() -> Any:
    """Import Ray, once its environment is set; untyped, as most of its functions are."""
    import ray

    return ray


def _work(spec: StageSpec, unit: str) -> Iterator[Commit | None]:
    """Work on a worker. The first item says that the task has started, which a queued one has not; then the commit."""
    yield None
    check_version()
    yield run_unit(spec, unit)


class TaskMetrics:
    """Counters that Ray exports with its own, in Prometheus' format."""

    def __init__(self) -> None:
        from ray.util.metrics import Counter as RayCounter
        from ray.util.metrics import Gauge

        tags = ("step", "phase")
        self.done = RayCounter("sppnet_units_done", "Units committed", tags)
        self.failed = RayCounter("sppnet_units_failed", "Units given up", tags)
        self.retried = RayCounter("sppnet_units_retried", "Failed tries of units", (*tags, "kind"))
        self.in_flight = Gauge("sppnet_units_in_flight", "Tasks submitted and not ended", tags)


@dataclass(slots=True, eq=False)
class _Attempt:
    """One task in flight."""

    unit: str
    submitted: float
    started: float | None = None
    expired: bool = False


class PhaseRun:
    """One phase on its way through the cluster.

    Args:
        spec: The step.
        phase: Its phase.
        units: Those to make.
        limits: How often a unit is tried.
        metrics: Count what happens.
        local: Whether the cluster is this machine, which will not grow.
    """

    def __init__(
        self,
        spec: StageSpec,
        phase: Phase,
        units: Sequence[str],
        *,
        limits: RetryLimits,
        metrics: TaskMetrics,
        local: bool,
    ) -> None:
        self._spec = spec
        self._phase = phase
        self._book = UnitBook(units, limits)
        self._artifact = Workspace.open(spec.workspace).artifact(spec.artifact)
        self._in_flight: dict[Any, _Attempt] = {}
        self._metrics = metrics
        self._tags = {"step": spec.step, "phase": phase.name}
        self._task, self._cpus = _remote_task(spec, phase, local=local)
        self._limit = 0
        self._limit_until = -math.inf

    def outcomes(self) -> Iterator[Commit | UnitFailure]:
        """Yield each unit's commit or failure as it ends."""
        while self._book.open:
            self._submit()
            for outcome in (*self._collect(), *self._expire()):
                counter = self._metrics.failed if isinstance(outcome, UnitFailure) else self._metrics.done
                counter.inc(tags=self._tags)
                yield outcome
            self._metrics.in_flight.set(len(self._in_flight), tags=self._tags)

    def cancel(self) -> None:
        """End every task that is still in flight."""
        for generator in list(self._in_flight):
            self._drop(generator)
        self._metrics.in_flight.set(0, tags=self._tags)

    def _submit(self) -> None:
        now = time.monotonic()
        if now >= self._limit_until:
            self._limit, self._limit_until = _in_flight_limit(self._phase, self._cpus), now + _CAPACITY_SECONDS
        live = sum(not attempt.expired for attempt in self._in_flight.values())
        for unit in self._book.take_due(now, self._limit - live):
            self._in_flight[self._task.remote(self._spec, unit)] = _Attempt(unit, now)

    def _collect(self) -> Iterator[Commit | UnitFailure]:
        """Wait a little for a task that has news, and take it."""
        ray = import_ray()
        now = time.monotonic()
        due = self._book.next_due()
        tick = min(_TICK_SECONDS, self._phase.resources.deadline_seconds / 4)
        patience = tick if due is None else min(max(due - now, 0.01), tick)
        if not self._in_flight:
            time.sleep(patience)
            return
        full = sum(not attempt.expired for attempt in self._in_flight.values()) >= self._limit
        ready, _ = ray.wait(list(self._in_flight), num_returns=1, timeout=tick if full else patience)
        for generator in ready:
            attempt = self._in_flight.pop(generator)
            try:
                commit: Commit | None = ray.get(next(generator), timeout=_FETCH_SECONDS)
            except (StopIteration, ray.exceptions.RayError) as error:
                yield from self._failed(attempt.unit, *_judge(error, self._spec))
                continue
            if commit is None:
                attempt.started = time.monotonic()
                self._in_flight[generator] = attempt
            else:
                yield self._done(commit)

    def _expire(self) -> Iterator[Commit | UnitFailure]:
        """Issue late units again; end tasks that are twice as late, or that never started."""
        deadline = self._phase.resources.deadline_seconds
        for generator, attempt in list(self._in_flight.items()):
            age = time.monotonic() - (attempt.submitted if attempt.started is None else attempt.started)
            if not self._book.is_open(attempt.unit) or age <= deadline:
                continue
            if attempt.started is None:
                # Its turn was to come after that long, and a node or a worker may be slow to come up.
                if age > max(_IN_FLIGHT_PER_SLOT * deadline, _START_SECONDS):
                    logger.warning("unit never started step=%s unit=%s; issued again", self._spec.step, attempt.unit)
                    self._drop(generator)
                    self._book.retry(attempt.unit, time.monotonic(), at_once=True)
                continue
            if age > 2 * deadline:  # or tasks that hang would take every slot for good
                self._drop(generator)
            if not attempt.expired:
                attempt.expired = True
                late = f"not finished {deadline:g} s after its start"
                yield from self._failed(attempt.unit, "infrastructure", late, at_once=True)

    def _failed(self, unit: str, kind: Kind, reason: str, *, at_once: bool = False) -> Iterator[Commit | UnitFailure]:
        """Count a failed try; put the unit back, or give it up, or find that it is committed after all."""
        logger.warning("unit try failed step=%s unit=%s kind=%s reason=%s", self._spec.step, unit, kind, reason)
        self._metrics.retried.inc(tags={**self._tags, "kind": kind})
        self._book.count_failure(unit, kind, reason)
        if kind == "infrastructure" and (commit := self._committed(unit)) is not None:
            yield self._done(commit)
            return
        others = any(a.unit == unit and not a.expired for a in self._in_flight.values())
        if others or self._book.is_waiting(unit):
            return
        failure = self._book.exhausted(unit)
        if failure is None:
            self._book.retry(unit, time.monotonic(), at_once=at_once)
            return
        self._close(unit)
        yield failure

    def _committed(self, unit: str) -> Commit | None:
        try:
            return self._artifact.commit(unit)
        except (ArtifactError, StoreUnreachableError):
            return None

    def _done(self, commit: Commit) -> Commit:
        self._close(commit.unit)
        return commit

    def _close(self, unit: str) -> None:
        """End the account of a unit and every other try of it."""
        self._book.close(unit)
        for generator, attempt in list(self._in_flight.items()):
            if attempt.unit == unit:
                self._drop(generator)

    def _drop(self, generator: Any) -> None:
        del self._in_flight[generator]
        import_ray().cancel(generator, force=True)


def _remote_task(spec: StageSpec, phase: Phase, *, local: bool) -> tuple[Any, float]:
    """Return the remote function of a phase, and the CPUs that one task of it takes."""
    ray = import_ray()
    wanted = phase.resources
    have: dict[str, float] = ray.cluster_resources()
    cpus = wanted.cpus
    memory = wanted.memory_bytes
    if local:  # one machine will not grow: take what it has
        cpus = min(cpus, have.get("CPU", 1.0))
        memory = min(memory, int(have.get("memory", 0)))
        if wanted.gpus > have.get("GPU", 0):
            raise ConfigError(
                f"step {spec.step}: phase {phase.name} needs {wanted.gpus:g} GPUs a unit, this machine has "
                f"{have.get('GPU', 0):g}; set {spec.step}.gpus=0 or join a cluster that has them"
            )
    elif cpus > have.get("CPU", 0) or wanted.gpus > have.get("GPU", 0):
        logger.warning("step=%s phase=%s waits for nodes with %s", spec.step, phase.name, wanted)
    options: dict[str, Any] = {
        "num_cpus": cpus,
        "num_gpus": wanted.gpus,
        "max_retries": 0,
        "retry_exceptions": False,
        # 0: the process lives on with its model loaded. For GPU tasks Ray's own default is a new process each time.
        "max_calls": 0,
        "num_returns": "streaming",
        "scheduling_strategy": "SPREAD",
        "runtime_env": {"env_vars": ray_environment.thread_variables(cpus)},
    }
    if memory:
        options["memory"] = memory
    return ray.remote(**options)(_work), cpus


def _in_flight_limit(phase: Phase, cpus: float) -> int:
    """Return twice what the cluster can run at once: no slot waits for the driver, and an autoscaler sees demand."""
    have: dict[str, float] = import_ray().cluster_resources()
    needs = Counter({"CPU": cpus, "GPU": phase.resources.gpus, "memory": float(phase.resources.memory_bytes)})
    slots = [have.get(name, 0.0) / need for name, need in needs.items() if need > 0]
    return max(2, math.ceil(_IN_FLIGHT_PER_SLOT * min(slots, default=have.get("CPU", 1.0))))


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
