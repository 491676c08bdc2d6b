"""Runs a recipe: finds what is missing of each step, and has an executor make it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from pipelines.engine.damage import ArtifactListing, Damage, check_units, known_damage
from pipelines.engine.executor import Executor
from pipelines.engine.ledger import StepSummary, summarise, units_of
from pipelines.engine.looks import LookBook
from pipelines.engine.phases import Phase
from pipelines.engine.planning import PlannedStep, plan
from pipelines.engine.recipe import Recipe
from pipelines.engine.schedule import Observer, Schedule
from pipelines.engine.work import build_stage
from pipelines.engine.workspace import Workspace
from sppnet.errors import ArtifactError


@dataclass(frozen=True, slots=True)
class StepStatus:
    """What exists of a step.

    Attributes:
        step: The step.
        committed: Committed units of those that it has.
        total: All units; None where what they are made from is not there yet.
        summary: The account, once complete and whole.
        damaged: What is known to be damaged, from one listing: see `pipelines.engine.damage.known_damage`.
        phases: Its phases; none where they are not known yet.
        made: The committed units.
    """

    step: PlannedStep
    committed: int
    total: int | None
    summary: StepSummary | None
    damaged: tuple[Damage, ...] = ()
    phases: tuple[Phase, ...] = ()
    made: frozenset[str] = frozenset()


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
        self.workspace = workspace
        self.steps = plan(recipe, workspace, fresh)
        self.recipe = replace(recipe, steps={step.name: step.config for step in self.steps})

    def run(self, executor: Executor, observer: Observer) -> list[StepSummary]:
        """Make everything that is missing, units of different steps at once as soon as what they read is there.

        Raises:
            IncompleteError: Units failed; the message names them. Finished units stay, and all that could be made
                without those was made, except for trainings.
            ArtifactError: Like it, where what a unit reads is missing or corrupt.
            TooManyQuarantinedError: A step set aside more keys than its `max_quarantined` allows.
        """
        self.workspace.check_writable()
        self.workspace.mark_version()
        book = LookBook(self.workspace.store)
        for step in self.steps:
            step.record(book)
        schedule = Schedule(self.steps, observer)
        schedule.open()
        while True:
            with closing(executor.run(schedule)) as outcomes:
                for job, outcome in outcomes:
                    schedule.settle(job, outcome)
            training = schedule.training()
            if training is None:
                break
            schedule.settle(training, executor.train(training.phase.spec, training.phase.phase, training.unit))
        schedule.check()
        return schedule.summaries()

    def status(self) -> Iterator[StepStatus]:
        """Tell what exists of each step, from one listing a step."""
        for step in self.steps:
            stage = build_stage(step.spec)
            listing = ArtifactListing.of(stage.artifact)
            try:
                phases = stage.phases()
            except ArtifactError:  # what the units are is told by an artifact that is not there yet
                yield StepStatus(step, 0, None, None)
                continue
            units = units_of(phases)
            made = frozenset(unit for unit in units if unit in listing.commits)
            have = len(made)
            damaged = known_damage(stage.artifact, listing, units)
            summary = None
            if have == len(units) and not damaged:
                try:
                    summary = summarise(step.name, step.config.stage, stage.artifact, phases)
                except ArtifactError:
                    damaged = check_units(stage.artifact, listing, units)[1]
                    if not damaged:
                        raise
                else:
                    damaged = known_damage(stage.artifact, listing, units, summary.bytes)
            account = None if damaged else summary
            yield StepStatus(step, have, len(units), account, tuple(damaged), tuple(phases), made)
