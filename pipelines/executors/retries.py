"""How often a unit is tried, and when again: the account that a distributed executor keeps, apart from any cluster.

Failures of the infrastructure (a dead worker, a lost node, a store that is away) are counted apart from those of the
unit's own code: the first may well pass, the second rarely do.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from pipelines.engine.backoff import backoff_seconds
from pipelines.engine.executor import Job, UnitFailure

Kind = Literal["infrastructure", "application", "artifact"]


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """How often a unit may fail before it is given up, and how long to wait in between.

    Attributes:
        infrastructure: Tries that may end in a dead worker, a lost node or a passed deadline.
        application: Tries that may end in an exception of the unit's own code, or in what it reads being corrupt.
        first_wait: Seconds before the second try; doubled for each further one, and jittered by half.
        longest_wait: Seconds; the wait never exceeds it.
    """

    infrastructure: int = 4
    application: int = 2
    first_wait: float = 0.5
    longest_wait: float = 30.0

    def tries(self, kind: Kind) -> int:
        """Return the limit for a kind of failure."""
        return self.infrastructure if kind == "infrastructure" else self.application

    def wait(self, failures: int) -> float:
        """Return the seconds to wait after the `failures`-th failure."""
        return backoff_seconds(failures, self.first_wait, self.longest_wait)


@dataclass(slots=True)
class _Account:
    failures: Counter[Kind] = field(default_factory=Counter)
    reason: str = ""
    waiting: bool = False


class UnitBook:
    """Which units are open, which wait for their next try, and how often each has failed.

    A unit is *out* (somebody tries it), *waiting* (it will be due at some time), or closed.

    Args:
        limits: How often a unit is tried.
    """

    def __init__(self, limits: RetryLimits) -> None:
        self._limits = limits
        self._accounts: dict[Job, _Account] = {}
        self._queue: list[tuple[float, int, Job]] = []
        self._pushed = 0

    def begin(self, job: Job) -> None:
        """Open the account of a unit that is out for the first time."""
        self._accounts[job] = _Account()

    def _push(self, unit: Job, due: float) -> None:
        self._accounts[unit].waiting = True
        heapq.heappush(self._queue, (due, self._pushed, unit))
        self._pushed += 1

    @property
    def open(self) -> int:
        """How many units are neither done nor given up."""
        return len(self._accounts)

    def is_open(self, unit: Job) -> bool:
        """Tell whether a unit is neither done nor given up."""
        return unit in self._accounts

    def is_waiting(self, unit: Job) -> bool:
        """Tell whether a try of the unit is still to come."""
        return unit in self._accounts and self._accounts[unit].waiting

    def take_due(self, now: float) -> Iterator[Job]:
        """Yield the units whose time has come; they are out from then on."""
        while self._queue and self._queue[0][0] <= now:
            _, _, unit = heapq.heappop(self._queue)
            if self.is_waiting(unit):
                self._accounts[unit].waiting = False
                yield unit

    def next_due(self) -> float | None:
        """Tell when the next waiting unit is due; None if none waits."""
        while self._queue and not self.is_waiting(self._queue[0][2]):
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def count_failure(self, unit: Job, kind: Kind, reason: str) -> None:
        """Note that a try failed."""
        account = self._accounts[unit]
        account.failures[kind] += 1
        account.reason = reason

    def exhausted(self, unit: Job) -> UnitFailure | None:
        """Return the failure to report if a unit has no tries left."""
        account = self._accounts[unit]
        if all(count < self._limits.tries(kind) for kind, count in account.failures.items()):
            return None
        return UnitFailure(
            unit.unit, account.reason, account.failures.total(), corrupt=account.failures["artifact"] > 0
        )

    def retry(self, unit: Job, now: float, *, at_once: bool = False) -> None:
        """Put a unit back, after a wait that grows with its failures."""
        if not self._accounts[unit].waiting:
            failures = self._accounts[unit].failures.total()
            self._push(unit, now if at_once or not failures else now + self._limits.wait(failures))

    def close(self, unit: Job) -> None:
        """Take a unit out: it is done or given up."""
        del self._accounts[unit]
