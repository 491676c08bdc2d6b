"""Observers of a run that are not about what a person sees: one that tells several, one that keeps accounts."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pipelines.engine.commits import Commit
from pipelines.engine.executor import UnitFailure
from pipelines.engine.ledger import StepSummary
from pipelines.engine.phases import Phase
from pipelines.engine.planning import PlannedStep
from pipelines.engine.schedule import Observer


class Observers:
    """Tells several observers."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def step_started(self, step: PlannedStep, phases: Sequence[Phase], missing: Collection[str], total: int) -> None:
        """See `pipelines.engine.schedule.Observer`."""
        for observer in self._observers:
            observer.step_started(step, phases, missing, total)

    def unit_done(self, step: PlannedStep, phase: Phase, commit: Commit) -> None:
        """See `pipelines.engine.schedule.Observer`."""
        for observer in self._observers:
            observer.unit_done(step, phase, commit)

    def unit_failed(self, step: PlannedStep, phase: Phase, failure: UnitFailure) -> None:
        """See `pipelines.engine.schedule.Observer`."""
        for observer in self._observers:
            observer.unit_failed(step, phase, failure)

    def step_done(self, step: PlannedStep, summary: StepSummary, seconds: float) -> None:
        """See `pipelines.engine.schedule.Observer`."""
        for observer in self._observers:
            observer.step_done(step, summary, seconds)


class Accounts:
    """Keeps the account of each step that is complete, so that it can be told of a run that fails too.

    Attributes:
        summaries: In the order of the recipe.
    """

    def __init__(self) -> None:
        self.summaries: list[StepSummary] = []

    def step_started(self, step: PlannedStep, phases: Sequence[Phase], missing: Collection[str], total: int) -> None:
        """Wait for the step's end."""

    def unit_done(self, step: PlannedStep, phase: Phase, commit: Commit) -> None:
        """Wait for the step's end."""

    def unit_failed(self, step: PlannedStep, phase: Phase, failure: UnitFailure) -> None:
        """Wait for the step's end."""

    def step_done(self, step: PlannedStep, summary: StepSummary, seconds: float) -> None:
        """Keep the step's account."""
        self.summaries.append(summary)
