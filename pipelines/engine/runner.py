"""Runs a recipe: finds what is missing of each step, and has an executor make it."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from pipelines.engine.executor import Executor, UnitFailure
from pipelines.engine.ledger import StepSummary, SummaryFile, check_quarantine, summarise, units_of
from pipelines.engine.looks import LookBook
from pipelines.engine.planning import PlannedStep, plan
from pipelines.engine.recipe import Recipe
from pipelines.engine.stage import Phase, Stage
from pipelines.engine.work import build_stage
from pipelines.engine.workspace import Commit, Workspace
from sppnet.errors import ArtifactError, IncompleteError

logger = logging.getLogger(__name__)

_FAILURES_SHOWN = 5


class Observer(Protocol):
    """Is told what happens during a run: progress bars, logs, events."""

    def step_started(self, step: PlannedStep, phases: Sequence[Phase], missing: int, total: int) -> None:
        """Note that a step begins; `missing` of its `total` units are to be made."""

    def unit_done(self, step: PlannedStep, phase: Phase, commit: Commit) -> None:
        """Note that a unit was committed."""

    def unit_failed(self, step: PlannedStep, phase: Phase, failure: UnitFailure) -> None:
        """Note that a unit was given up."""

    def step_done(self, step: PlannedStep, summary: StepSummary, seconds: float) -> None:
        """Note that a step is complete; `seconds` is what it took now, near 0 if it was complete before."""


@dataclass(frozen=True, slots=True)
class StepStatus:
    """What exists of a step.

    Attributes:
        step: The step.
        committed: Committed units of those that it has.
        total: All units; None where what they are made from is not there yet.
        summary: The account, once complete.
    """

    step: PlannedStep
    committed: int
    total: int | None
    summary: StepSummary | None


class Engine:
    """Runs and inspects one recipe in one workspace.

    Args:
        recipe: The recipe.
        workspace: Where its artifacts are.
        fresh: Steps that look outside the workspace anew, None for all; see `pipelines.engine.planning.plan`.

    Raises:
        ConfigError: What a step reads outside the workspace is not there, or is something else.
        ArtifactError: The workspace is of a version that can't be read.
    """

    def __init__(self, recipe: Recipe, workspace: Workspace, fresh: Collection[str] | None = None) -> None:
        workspace.check_version()
        self.recipe = recipe
        self.workspace = workspace
        self.steps = plan(recipe, workspace, fresh)

    def run(self, executor: Executor, observer: Observer) -> list[StepSummary]:
        """Make everything that is missing, step by step.

        Raises:
            IncompleteError: Units of a step failed; the message names them. Finished units stay.
            ArtifactError: Like it, where what a unit reads is missing or corrupt.
            TooManyQuarantinedError: A step set aside more keys than its `max_quarantined` allows.
        """
        self.workspace.check_writable()
        self.workspace.mark_version()
        book = LookBook(self.workspace.store)
        for step in self.steps:
            step.record(book)
        return [self._run_step(step, executor, observer) for step in self.steps]

    def _run_step(self, step: PlannedStep, executor: Executor, observer: Observer) -> StepSummary:
        start = time.perf_counter()
        stage = build_stage(step.spec)
        stage.artifact.describe(step.preimage)
        stage.prepare()
        phases = stage.phases()
        committed = stage.artifact.committed()
        units = units_of(phases)
        missing = sum(unit not in committed for unit in units)
        if missing:
            SummaryFile(stage.artifact, phases).forget()
        observer.step_started(step, phases, missing, len(units))
        for phase in phases:
            to_do = [unit for unit in phase.units if unit not in committed]
            if phase.workers:
                for unit in to_do:
                    observer.unit_done(step, phase, executor.train(step.spec, phase, unit))
            elif to_do:
                self._run_units(step, stage, phase, to_do, executor, observer)
        summary = summarise(step.name, step.config.stage, stage.artifact, phases)
        check_quarantine(summary, step.config.max_quarantined)
        observer.step_done(step, summary, time.perf_counter() - start)
        return summary

    def _run_units(
        self,
        step: PlannedStep,
        stage: Stage[Any],
        phase: Phase,
        units: Sequence[str],
        executor: Executor,
        observer: Observer,
    ) -> None:
        failures = []
        for outcome in executor.run_units(step.spec, phase, units):
            if isinstance(outcome, UnitFailure):
                failures.append(replace(outcome, unit=stage.title(outcome.unit)))
                observer.unit_failed(step, phase, failures[-1])
            else:
                observer.unit_done(step, phase, outcome)
        if failures:
            shown = "; ".join(f"{f.unit}: {f.reason} ({f.tries} tries)" for f in failures[:_FAILURES_SHOWN])
            more = f"; and {len(failures) - _FAILURES_SHOWN} more" if len(failures) > _FAILURES_SHOWN else ""
            error = ArtifactError if any(failure.corrupt for failure in failures) else IncompleteError
            raise error(
                f"step {step.name}: {len(failures)} of {len(phase.units)} units failed: {shown}{more}. "
                "Finished units are kept; mend the cause and run again"
            )

    def status(self) -> Iterator[StepStatus]:
        """Tell what exists of each step, from one listing a step."""
        for step in self.steps:
            stage = build_stage(step.spec)
            committed = stage.artifact.committed()
            try:
                phases = stage.phases()
            except ArtifactError:  # what the units are is told by an artifact that is not there yet
                yield StepStatus(step, 0, None, None)
                continue
            units = units_of(phases)
            have = sum(unit in committed for unit in units)
            complete = have == len(units)
            summary = summarise(step.name, step.config.stage, stage.artifact, phases) if complete else None
            yield StepStatus(step, have, len(units), summary)
