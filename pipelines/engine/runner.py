"""Runs a recipe: works out what each step is made from, finds what is missing, and has an executor make it."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from pipelines.engine.executor import Executor, UnitFailure
from pipelines.engine.fingerprint import canonical_json, fingerprint
from pipelines.engine.recipe import Recipe
from pipelines.engine.registry import stage_type
from pipelines.engine.stage import Phase, Stage, StageConfig, StageSpec
from pipelines.engine.work import build_stage
from pipelines.engine.workspace import Artifact, Commit, Quarantined, Workspace
from sppnet.errors import ArtifactError, IncompleteError, TooManyQuarantinedError

logger = logging.getLogger(__name__)

_FAILURES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step with the artifact that it makes.

    Attributes:
        name: The step's name.
        config: Its config.
        spec: What workers need to build its stage.
        preimage: What the artifact's fingerprint is the hash of.
    """

    name: str
    config: StageConfig
    spec: StageSpec
    preimage: Mapping[str, Any]


def plan(recipe: Recipe, workspace: str) -> list[PlannedStep]:
    """Works out every step's artifact name. Reads data set listings and weight files, runs nothing."""
    planned: dict[str, PlannedStep] = {}
    for name, config in recipe.steps.items():
        kind = stage_type(config.stage)
        inputs = {
            field: tuple(planned[target].spec.artifact for target in targets)
            for field, targets in config.references().items()
        }
        preimage: dict[str, Any] = {
            "stage": kind.name,
            "schema": kind.schema,
            "config": config.semantic(),
            "inputs": {field: list(names) for field, names in inputs.items()},
            "external": dict(kind.external(config)),
        }
        if kind.seeded:
            preimage["seed"] = recipe.seed
        spec = StageSpec(
            workspace=workspace,
            step=name,
            artifact=f"{kind.makes}-{fingerprint(preimage)}",
            config=config.model_dump_json(),
            inputs=tuple(sorted(inputs.items())),
            seed=recipe.seed,
        )
        planned[name] = PlannedStep(name, config, spec, preimage)
    return list(planned.values())


@dataclass(frozen=True, slots=True)
class StepSummary:
    """The account of one step once all its units are committed.

    Attributes:
        step: The step's name.
        stage: Its stage's name.
        artifact: Its artifact's name.
        units: How many units it has.
        keys: Keys that the units of its last keyed phase account for; a key counts once per unit (once per scale).
        done: How many of them are done.
        own_quarantined: How many of them this step itself set aside; the others were set aside before it.
        quarantined: The distinct keys set aside, by this step or before it.
        rows: Rows in its data objects.
        bytes: Bytes of its data objects.
        seconds: Worker seconds, summed over units.
        wall_seconds: From the first unit's start to the last unit's commit, as the commits tell.
        metrics: Figures that its units reported, summed.
    """

    step: str
    stage: str
    artifact: str
    units: int
    keys: int
    done: int
    own_quarantined: int
    quarantined: tuple[Quarantined, ...]
    rows: int
    bytes: int
    seconds: float
    wall_seconds: float
    metrics: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> StepSummary:
        """The inverse of `to_json`."""
        rows = tuple(Quarantined(**entry) for entry in fields["quarantined"])
        return cls(**{**fields, "quarantined": rows})


class Observer(Protocol):
    """Is told what happens during a run: progress bars, logs, events."""

    def step_started(self, step: PlannedStep, phases: Sequence[Phase], missing: int, total: int) -> None:
        """A step begins; `missing` of its `total` units are to be made."""

    def unit_done(self, step: PlannedStep, phase: Phase, commit: Commit) -> None:
        """A unit was committed."""

    def unit_failed(self, step: PlannedStep, phase: Phase, failure: UnitFailure) -> None:
        """A unit was given up."""

    def step_done(self, step: PlannedStep, summary: StepSummary, seconds: float) -> None:
        """A step is complete; `seconds` is what it took in this run, near 0 if it was complete before."""


@dataclass(frozen=True, slots=True)
class StepStatus:
    """What exists of a step.

    Attributes:
        step: The step.
        committed: Committed units.
        total: All units; None before its images are ingested.
        summary: The account, once complete.
    """

    step: PlannedStep
    committed: int
    total: int | None
    summary: StepSummary | None


class Engine:
    """Runs and inspects one recipe in one workspace."""

    def __init__(self, recipe: Recipe, workspace: Workspace) -> None:
        self.recipe = recipe
        self.workspace = workspace
        self.steps = plan(recipe, workspace.store.uri)

    def run(self, executor: Executor, observer: Observer) -> list[StepSummary]:
        """Makes everything that is missing, step by step.

        Raises:
            IncompleteError: Units of a step failed; the message names them. Finished units stay.
            ArtifactError: Like it, where what a unit reads is missing or corrupt.
            TooManyQuarantinedError: A step set aside more keys than its `max_quarantined` allows.
        """
        self.workspace.check_writable()
        return [self._run_step(step, executor, observer) for step in self.steps]

    def _run_step(self, step: PlannedStep, executor: Executor, observer: Observer) -> StepSummary:
        start = time.perf_counter()
        stage = build_stage(step.spec)
        stage.artifact.describe(step.preimage)
        stage.prepare()
        phases = stage.phases()
        committed = stage.artifact.committed()
        total = sum(len(phase.units) for phase in phases)
        missing = sum(unit not in committed for phase in phases for unit in phase.units)
        if missing:  # a summary that is there is of commits that are gone
            stage.artifact.store.delete(_summary_name(stage.artifact, phases))
        observer.step_started(step, phases, missing, total)
        for phase in phases:
            self._run_phase(step, phase, [u for u in phase.units if u not in committed], executor, observer)
        summary = summarise(step, stage, phases)
        check_quarantine(step, summary)
        observer.step_done(step, summary, time.perf_counter() - start)
        return summary

    def _run_phase(
        self, step: PlannedStep, phase: Phase, units: Sequence[str], executor: Executor, observer: Observer
    ) -> None:
        failures = []
        if phase.workers:
            for unit in units:
                observer.unit_done(step, phase, executor.train(step.spec, phase, unit))
            return
        for outcome in executor.run_units(step.spec, phase, units) if units else ():
            if isinstance(outcome, UnitFailure):
                failures.append(outcome)
                observer.unit_failed(step, phase, outcome)
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
        """Tells what exists of each step, from one listing a step."""
        for step in self.steps:
            stage = build_stage(step.spec)
            committed = stage.artifact.committed()
            try:
                phases = stage.phases()
            except ArtifactError:  # the manifest is not there yet
                yield StepStatus(step, len(committed), None, None)
                continue
            units = [unit for phase in phases for unit in phase.units]
            have = sum(unit in committed for unit in units)
            complete = summarise(step, stage, phases) if have == len(units) else None
            yield StepStatus(step, have, len(units), complete)


def _summary_name(artifact: Artifact, phases: Sequence[Phase]) -> str:
    units = [unit for phase in phases for unit in phase.units]
    digest = hashlib.sha256("\n".join(units).encode()).hexdigest()[:12]
    return f"{artifact.name}/_summaries/{digest}.json"


def summarise(step: PlannedStep, stage: Stage[Any], phases: Sequence[Phase]) -> StepSummary:
    """Sums up a complete step. The result is kept: looking again costs one GET however many units there are."""
    units = [unit for phase in phases for unit in phase.units]
    artifact = stage.artifact
    name = _summary_name(artifact, phases)
    try:
        return StepSummary.from_json({**json.loads(artifact.store.read(name)), "step": step.name})
    except ArtifactError:
        commits = artifact.commits(units)
    except (ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"{artifact.store.uri}/{name} is corrupt ({error}); remove it and run again") from error
    # The last phase that accounts for a shard's keys: `gather/train/000000` gives way to `mine-1/train/000000`.
    latest = {unit.removeprefix(f"{phase.name}/"): unit for phase in phases if phase.keyed for unit in phase.units}
    accounting = set(latest.values())
    ledger = [commit for commit in commits if commit.unit in accounting]
    quarantined = [entry for commit in ledger for entry in commit.quarantined]
    metrics: Counter[str] = Counter()
    for commit in commits:
        metrics.update({k: v for k, v in commit.metrics.items() if isinstance(v, int | float)})
    spans = [(commit.created - commit.seconds, commit.created) for commit in commits]
    summary = StepSummary(
        step=step.name,
        stage=step.config.stage,
        artifact=artifact.name,
        units=len(units),
        keys=sum(commit.keys for commit in ledger),
        done=sum(commit.done for commit in ledger),
        own_quarantined=sum(entry.stage == step.config.stage for entry in quarantined),
        quarantined=tuple(dict.fromkeys(quarantined)),
        rows=sum(commit.rows for commit in commits),
        bytes=sum(commit.size for commit in commits),
        seconds=round(sum(commit.seconds for commit in commits), 3),
        wall_seconds=round(max((b for _, b in spans), default=0) - min((a for a, _ in spans), default=0), 3),
        metrics={key: round(value, 6) for key, value in metrics.items()},
    )
    artifact.store.create(name, canonical_json(json.loads(json.dumps(summary.to_json()))).encode())
    return summary


def check_quarantine(step: PlannedStep, summary: StepSummary) -> None:
    """Raises `TooManyQuarantinedError` if the step itself set aside too large a fraction of its keys."""
    if summary.keys and summary.own_quarantined / summary.keys > step.config.max_quarantined:
        own = [entry for entry in summary.quarantined if entry.stage == step.config.stage]
        reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(q.reason for q in own).most_common())
        raise TooManyQuarantinedError(
            f"step {step.name}: {summary.own_quarantined} of {summary.keys} keys quarantined ({reasons}; "
            f"first: {own[0].key}: {own[0].detail}), more than max_quarantined={step.config.max_quarantined}; "
            f"mend the inputs or raise steps.{step.name}.max_quarantined"
        )
