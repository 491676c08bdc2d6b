"""Steps and phases of a run while they are at work: what is ready, what is made together, and what failed."""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from pipelines.engine.damage import Damage
from pipelines.engine.executor import Job, OpenPhase, UnitFailure
from pipelines.engine.ledger import StepSummary
from pipelines.engine.phases import Phase
from pipelines.engine.planning import PlannedStep
from pipelines.engine.stage import Stage

_FAILURES_SHOWN = 5


@dataclass(eq=False)
class PhaseAtWork:
    """A phase that is at work: its units wait, are ready, or are handed out.

    Attributes:
        step: Whose phase it is.
        open: The phase, as executors know it.
        left: Units that are neither committed nor given up.
        place: The place of each unit in the phase.
        ready: Places of the ready units, a heap.
        missing: By unit that waits, how many of those that it reads are not committed.
        bundles: The ready units that are made together, by what they have in common.
        taken: Units that were handed out with another and are still in the heap, never at its top.
    """

    step: StepAtWork
    open: OpenPhase
    left: set[str]
    place: dict[str, int]
    ready: list[int] = field(default_factory=list)
    missing: dict[str, int] = field(default_factory=dict)
    bundles: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    taken: set[str] = field(default_factory=set)

    def make_ready(self, unit: str) -> None:
        """Note that all that a unit reads is committed."""
        heapq.heappush(self.ready, self.place[unit])
        if (name := self.step.stage.bundle(unit)) is not None:
            self.bundles[name].add(unit)

    def first(self) -> str:
        """Return the next unit that is ready."""
        return self.open.phase.units[self.ready[0]]

    def take(self) -> Job:
        """Take the first unit that is ready, and those that are made with it and are ready too."""
        unit = self.open.phase.units[heapq.heappop(self.ready)]
        name = self.step.stage.bundle(unit)
        others = self.bundles.pop(name) - {unit} if name is not None else set()
        self.taken |= others
        while self.ready and self.first() in self.taken:
            self.taken.remove(self.open.phase.units[heapq.heappop(self.ready)])
        return Job(self.open, unit, tuple(sorted(others, key=self.place.__getitem__)))


@dataclass(eq=False)
class StepAtWork:
    """A step of the run: not opened yet, open, complete (it has an account), or stopped at units that failed.

    Attributes:
        number: Its place in the run.
        planned: The step as it is planned.
        is_open: Whether it was opened: what follows is known from then on.
        stage: The step's stage.
        started: When it was opened, on `time.perf_counter`.
        phases: Its phases.
        next_phase: The number of the one that begins next.
        failures: Units that were given up.
        failed_of: How many units the phase has that they are of.
        damaged: Units whose data is not what was committed.
        summary: Its account once it is complete.
    """

    number: int
    planned: PlannedStep
    is_open: bool = False
    stage: Stage[Any] = field(init=False)
    started: float = field(init=False)
    phases: list[Phase] = field(init=False)
    next_phase: int = 0
    failures: list[UnitFailure] = field(default_factory=list)
    failed_of: int = 0
    damaged: list[Damage] = field(default_factory=list)
    summary: StepSummary | None = None

    @property
    def name(self) -> str:
        """The step's name in the recipe."""
        return self.planned.name

    @property
    def artifact(self) -> str:
        """Name of the artifact that it makes."""
        return self.planned.spec.artifact


def told_damage(step: StepAtWork) -> str:
    """Say in a line which units of a step are damaged."""
    shown = "; ".join(damage.line for damage in step.damaged[:_FAILURES_SHOWN])
    more = f"; and {len(step.damaged) - _FAILURES_SHOWN} more" if len(step.damaged) > _FAILURES_SHOWN else ""
    count = len(step.damaged)
    return f"step {step.name}: {count} unit{'s are' if count > 1 else ' is'} damaged: {shown}{more}"


def told_failures(step: StepAtWork) -> str:
    """Say in a line which units of a step failed, and why."""
    failures = step.failures
    shown = "; ".join(f"{f.unit}: {f.reason} ({f.tries} tries)" for f in failures[:_FAILURES_SHOWN])
    more = f"; and {len(failures) - _FAILURES_SHOWN} more" if len(failures) > _FAILURES_SHOWN else ""
    return f"step {step.name}: {len(failures)} of {step.failed_of} units failed: {shown}{more}"
