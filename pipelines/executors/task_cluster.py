"""What a pool of tasks asks of a cluster, whichever it is, and how a task of it fails."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol

from pipelines.engine.commits import Commit
from pipelines.engine.executor import Job, OpenPhase, Outcome
from pipelines.engine.phases import Resources
from pipelines.executors.capacity import Capacity
from pipelines.executors.retries import Kind


class TaskFailedError(Exception):
    """A task ended without a commit.

    Attributes:
        kind: What kind of failure it is.
        reason: One line.
    """

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind: Kind = kind
        self.reason = reason


class TaskCluster(Protocol):
    """The few things that a pool asks of a cluster."""

    def now(self) -> float:
        """Return seconds of a clock that only goes forward."""

    def capacity(self) -> Capacity:
        """Look at what there is now."""

    def prepare(self, phase: OpenPhase, resources: Resources, amounts: Mapping[str, float]) -> Any:
        """Return what `submit` takes for units of a phase."""

    def submit(self, prepared: Any, job: Job) -> Hashable:
        """Hand a unit to the cluster as a task."""

    def wait(self, tasks: Sequence[Hashable], seconds: float) -> Sequence[Hashable]:
        """Return the tasks that have news, at least one unless the time is over before."""

    def news(self, task: Hashable) -> tuple[Commit, ...] | None:
        """Take a task's news: None that it has started, then the commits of its units.

        Raises:
            TaskFailedError: It ended without one.
            ConfigError: No other try and no other unit can escape what it met.
        """

    def cancel(self, task: Hashable) -> None:
        """End a task, by force."""


class PoolMetrics(Protocol):
    """Counts what happens."""

    def count(self, job: Job, outcome: Outcome) -> None:
        """Count what came of a unit."""

    def count_retry(self, phase: OpenPhase, kind: Kind) -> None:
        """Count a try that failed."""

    def set_in_flight(self, phase: OpenPhase, tasks: int) -> None:
        """Note how many tasks of a phase are in flight."""
