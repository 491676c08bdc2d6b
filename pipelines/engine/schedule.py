"""Which unit may be made next: the units of all steps of a run, ready as soon as what they read is committed.

A step is *opened* when what it reads whole is complete and what it reads shard by shard is open. Its phases follow one
another; a phase's unit is ready when each unit that it reads is committed. So a shard's maps are made while the images
of the next are still ingested, and only trainings, and what takes whole splits, wait for a whole step.

Of ready units those of the last step come first: what was begun is ended before more is begun, and no more maps lie
about than the units that read them can't keep up with.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from pipelines.engine.at_work import PhaseAtWork, StepAtWork, told_damage, told_failures
from pipelines.engine.commits import Commit
from pipelines.engine.damage import ArtifactListing, known_damage
from pipelines.engine.executor import Job, OpenPhase, Outcome, UnitFailure
from pipelines.engine.ledger import StepSummary, SummaryFile, check_quarantine, summarise, units_of
from pipelines.engine.phases import Needs, Phase
from pipelines.engine.planning import PlannedStep
from pipelines.engine.registry import stage_type
from pipelines.engine.work import build_stage
from sppnet.errors import ArtifactError, IncompleteError, SppError


class Observer(Protocol):
    """Is told what happens during a run: progress bars, logs, events."""

    def step_started(self, step: PlannedStep, phases: Sequence[Phase], missing: Collection[str], total: int) -> None:
        """Note that a step begins; `missing` are those of its `total` units that are to be made."""

    def unit_done(self, step: PlannedStep, phase: Phase, commit: Commit) -> None:
        """Note that a unit was committed."""

    def unit_failed(self, step: PlannedStep, phase: Phase, failure: UnitFailure) -> None:
        """Note that a unit was given up."""

    def step_done(self, step: PlannedStep, summary: StepSummary, seconds: float) -> None:
        """Note that a step is complete; `seconds` is what it took now, near 0 if it was complete before."""


class Schedule:
    """The units of a run, as a queue for an executor; see `pipelines.engine.executor.WorkQueue`.

    Args:
        steps: The steps, each after those that it reads.
        observer: Is told what happens.
    """

    def __init__(self, steps: Sequence[PlannedStep], observer: Observer) -> None:
        self._observer = observer
        self._steps = [StepAtWork(number, step) for number, step in enumerate(steps)]
        self._by_name = {step.name: step for step in self._steps}
        self._by_artifact: defaultdict[str, list[StepAtWork]] = defaultdict(list)
        for step in self._steps:
            self._by_artifact[step.artifact].append(step)
        self._committed: dict[str, set[str]] = {}
        self._waiting: defaultdict[str, defaultdict[str, list[tuple[PhaseAtWork, str]]]]
        self._waiting = defaultdict(lambda: defaultdict(list))
        self._at_work: list[PhaseAtWork] = []
        self._phases: dict[OpenPhase, PhaseAtWork] = {}
        self._trainings: list[Job] = []

    def open(self) -> None:
        """Open every step that can be opened now, in order; complete steps are summed up.

        Raises:
            SppError: What a step's `prepare` or `check_input` raises, or `TooManyQuarantinedError` of one that is
                complete.
        """
        while (step := next(filter(self._can_open, self._steps), None)) is not None:
            self._open(step)

    # --- the queue ------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """See `WorkQueue.ready`."""
        return any(phase.ready for phase in self._at_work)

    def open_phases(self) -> list[OpenPhase]:
        """See `WorkQueue.open_phases`."""
        return [phase.open for phase in self._at_work if phase.ready or phase.missing]

    def needs(self) -> list[Needs]:
        """See `WorkQueue.needs`."""
        return [step.planned.config.needs(step.name) for step in self._steps if step.summary is None]

    def take(self, room: Callable[[OpenPhase], bool], feeding: Callable[[OpenPhase], bool] | None = None) -> Job | None:
        """See `WorkQueue.take`."""
        candidates = [phase for phase in self._at_work if phase.ready and room(phase.open)]
        if not candidates:
            return None
        chosen = candidates[0]
        if feeding is not None:
            chosen = next((phase for phase in candidates if self._feeds(phase, feeding)), chosen)
        return chosen.take()

    def _feeds(self, phase: PhaseAtWork, starves: Callable[[OpenPhase], bool]) -> bool:
        """Tell whether a phase's next unit is all that some unit of a starving phase waits for."""
        waiting = self._waiting[phase.step.artifact].get(phase.first(), ())
        return any(other.missing.get(unit) == 1 and starves(other.open) for other, unit in waiting)

    # --- what came of it ------------------------------------------------------------------------------------------

    def settle(self, job: Job, outcome: Outcome) -> None:
        """Take what came of a unit that was taken; steps may end by it, and others open.

        Raises:
            SppError: See `open`.
        """
        phase = self._phases[job.phase]
        step = phase.step
        if isinstance(outcome, UnitFailure):
            failure = replace(outcome, unit=step.stage.title(outcome.unit))
            step.failures.append(failure)
            step.failed_of = len(phase.place)
            self._observer.unit_failed(step.planned, job.phase.phase, failure)
        else:
            self._observer.unit_done(step.planned, job.phase.phase, outcome)
            self._commit(step.artifact, outcome)
        phase.left.discard(outcome.unit)
        if not phase.left:
            self._end_phase(phase)
            self.open()

    def training(self) -> Job | None:
        """Take the next training that can begin, if there is one and no unit has failed."""
        return self._trainings.pop(0) if self._trainings and not self.failures() else None

    def summaries(self) -> list[StepSummary]:
        """Return the accounts of the steps that are complete, in order."""
        return [step.summary for step in self._steps if step.summary is not None]

    def failures(self) -> bool:
        """Tell whether any unit was given up, or is damaged."""
        return any(step.failures or step.damaged for step in self._steps)

    def check(self) -> None:
        """Raise `IncompleteError` if units failed; `ArtifactError` where inputs are corrupt, or units are damaged."""
        failed = [step for step in self._steps if step.failures]
        damaged = [step for step in self._steps if step.damaged]
        if not failed and not damaged:
            return
        parts = "; ".join([*map(told_failures, failed), *map(told_damage, damaged)])
        corrupt = damaged or any(failure.corrupt for step in failed for failure in step.failures)
        error: type[SppError] = ArtifactError if corrupt else IncompleteError
        cause = "take the damaged ones away (sppnet verify --repair)" if damaged else "mend the cause"
        raise error(f"{parts}. Finished units are kept; {cause} and run again")

    # --- steps ----------------------------------------------------------------------------------------------------

    def _inputs(self, step: StepAtWork, streamed: bool) -> Iterable[StepAtWork]:
        """Return the steps behind the fields that a step reads shard by shard, or those that it reads whole."""
        config = step.planned.config
        fields = stage_type(config.stage).streamed
        for name, targets in config.references().items():
            if (name in fields) == streamed:
                yield from (self._by_name[target] for target in targets if target in self._by_name)

    def _can_open(self, step: StepAtWork) -> bool:
        if step.is_open:
            return False
        # Two steps of one recipe may make the same artifact: the second finds what the first has made.
        same = (other for other in self._by_artifact[step.artifact] if other.number < step.number)
        whole = (*self._inputs(step, streamed=False), *same)
        return all(other.summary is not None for other in whole) and all(
            other.is_open for other in self._inputs(step, streamed=True)
        )

    def _open(self, step: StepAtWork) -> None:
        step.started = time.perf_counter()
        stage = build_stage(step.planned.spec)
        stage.artifact.describe(step.planned.preimage)
        stage.prepare()
        step.is_open, step.stage, step.phases = True, stage, stage.phases()
        listing = ArtifactListing.of(stage.artifact)
        committed = self._committed[step.artifact] = set(listing.commits)
        units = units_of(step.phases)
        missing = [unit for unit in units if unit not in committed]
        if missing:
            SummaryFile(stage.artifact, step.phases).forget()
        self._observer.step_started(step.planned, step.phases, missing, len(units))
        self._begin_phase(step)
        size = step.summary.bytes if step.summary is not None else None
        step.damaged = known_damage(stage.artifact, listing, units, size)

    def _begin_phase(self, step: StepAtWork) -> None:
        """Begin a step's next phase that has something to do, or end the step."""
        committed = self._committed[step.artifact]
        while step.next_phase < len(step.phases):
            phase = step.phases[step.next_phase]
            step.next_phase += 1
            to_do = [unit for unit in phase.units if unit not in committed]
            if not to_do:
                continue
            place = {unit: number for number, unit in enumerate(phase.units)}
            found = PhaseAtWork(step, OpenPhase(step.planned.spec, phase), set(to_do), place)
            self._phases[found.open] = found
            if phase.workers:
                self._trainings += [Job(found.open, unit) for unit in to_do]
            else:
                self._at_work.append(found)
                self._at_work.sort(key=lambda other: -other.step.number)
                for unit in to_do:
                    self._await(found, unit)
            return
        self._end_step(step)

    def _end_phase(self, phase: PhaseAtWork) -> None:
        del self._phases[phase.open]
        if phase in self._at_work:
            self._at_work.remove(phase)
        if not phase.step.failures:
            self._begin_phase(phase.step)

    def _end_step(self, step: StepAtWork) -> None:
        config = step.planned.config
        summary = summarise(step.name, config.stage, step.stage.artifact, step.phases)
        check_quarantine(summary, config.max_quarantined)
        step.summary = summary
        self._observer.step_done(step.planned, summary, time.perf_counter() - step.started)
        self._check_readers(step)
        if all(other.summary is not None for other in self._by_artifact[step.artifact]):
            for unit in list(self._waiting[step.artifact]):  # units that the step doesn't have: nothing to wait for
                self._release(step.artifact, unit)

    def _check_readers(self, made: StepAtWork) -> None:
        """Let the steps that will read a step look at what it has made."""
        for step in self._steps:
            fields = [name for name, targets in step.planned.config.references().items() if made.name in targets]
            if fields and not step.is_open:
                stage = build_stage(step.planned.spec)
                for field in fields:
                    stage.check_input(field)

    # --- units ----------------------------------------------------------------------------------------------------

    def _await(self, phase: PhaseAtWork, unit: str) -> None:
        missing = [read for read in phase.step.stage.reads(unit) if not self._is_there(*read)]
        if not missing:
            phase.make_ready(unit)
            return
        phase.missing[unit] = len(missing)
        for artifact, read in missing:
            self._waiting[artifact][read].append((phase, unit))

    def _is_there(self, artifact: str, unit: str) -> bool:
        makers = self._by_artifact.get(artifact, ())
        return unit in self._committed.get(artifact, ()) or all(step.summary is not None for step in makers)

    def _commit(self, artifact: str, commit: Commit) -> None:
        self._committed[artifact].add(commit.unit)
        self._release(artifact, commit.unit)

    def _release(self, artifact: str, unit: str) -> None:
        for phase, waiting in self._waiting[artifact].pop(unit, ()):
            phase.missing[waiting] -= 1
            if not phase.missing[waiting]:
                del phase.missing[waiting]
                phase.make_ready(waiting)
