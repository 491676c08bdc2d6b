"""The simplest queue for an executor (some units of one phase, all ready), and an executor that turns queues around."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence

from pipelines.engine.executor import Executor, Job, OpenPhase, Outcome, WorkQueue
from pipelines.engine.phases import Needs, Phase
from pipelines.engine.stage import StageSpec
from pipelines.executors.local import LocalExecutor


class UnitList:
    """Units of one phase."""

    def __init__(self, spec: StageSpec, phase: Phase, units: Sequence[str]) -> None:
        self.phase = OpenPhase(spec, phase)
        self.units = list(units)

    @property
    def ready(self) -> bool:
        return bool(self.units)

    def take(self, room: Callable[[OpenPhase], bool], feeding: Callable[[OpenPhase], bool] | None = None) -> Job | None:
        return Job(self.phase, self.units.pop(0)) if self.units and room(self.phase) else None

    def open_phases(self) -> list[OpenPhase]:
        return [self.phase] if self.units else []

    def needs(self) -> list[Needs]:
        return [Needs(self.phase.spec.step, self.phase.phase.resources)]


def run_units(executor: Executor, spec: StageSpec, phase: Phase, units: Sequence[str]) -> Iterator[Outcome]:
    """Runs units of a phase; yields what comes of each."""
    outcomes = executor.run(UnitList(spec, phase, units))
    try:
        for _, outcome in outcomes:
            yield outcome
    finally:
        outcomes.close()


class Backwards(LocalExecutor):
    """Runs the units that are ready at the same time in reverse."""

    def run(self, queue: WorkQueue) -> Generator[tuple[Job, Outcome], None, None]:
        while queue.ready:
            taken: list[Job] = []
            while (job := queue.take(lambda _: True)) is not None:
                taken.append(job)
            for job in reversed(taken):
                yield from ((job, outcome) for outcome in self._outcomes(job))
