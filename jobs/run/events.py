"""What happens during a run, written to the run's folder."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from typing import Any

from jobs.run.progress import ProgressObserver
from pipelines.engine.executor import UnitFailure
from pipelines.engine.runner import PlannedStep, StepSummary
from pipelines.engine.stage import Phase
from pipelines.engine.workspace import Commit, Workspace


class EventLog:
    """Writes what happened to `runs/<name>/events/<start>-<id>.jsonl`, one file an attempt."""

    def __init__(self, workspace: Workspace, run: str) -> None:
        self._store = workspace.store
        start = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self.name = f"runs/{run}/events/{start}-{uuid.uuid4().hex[:6]}.jsonl"
        self._lines: list[str] = []

    def record(self, event: str, **fields: Any) -> None:
        """Adds one event."""
        self._lines.append(json.dumps({"time": round(time.time(), 3), "event": event, **fields}, sort_keys=True))

    def flush(self) -> None:
        """Publishes what was recorded so far."""
        self._store.put(self.name, ("\n".join(self._lines) + "\n").encode())

    def step_started(self, step: PlannedStep, phases: Sequence[Phase], missing: int, total: int) -> None:
        """Records that a step begins."""
        if missing:
            self.record("step_started", step=step.name, artifact=step.spec.artifact, missing=missing, total=total)

    def unit_done(self, step: PlannedStep, phase: Phase, commit: Commit) -> None:
        """Records a unit."""
        self.record(
            "unit_done",
            step=step.name,
            unit=commit.unit,
            seconds=commit.seconds,
            done=commit.done,
            quarantined=len(commit.quarantined),
            host=commit.host,
        )

    def unit_failed(self, step: PlannedStep, phase: Phase, failure: UnitFailure) -> None:
        """Records a failure, and publishes at once."""
        self.record("unit_failed", step=step.name, unit=failure.unit, reason=failure.reason, tries=failure.tries)
        self.flush()

    def step_done(self, step: PlannedStep, summary: StepSummary, seconds: float) -> None:
        """Records the end of a step, and publishes."""
        self.record("step_done", step=step.name, units=summary.units, seconds=round(seconds, 3))
        self.flush()


class Observers:
    """Tells several observers."""

    def __init__(self, *observers: ProgressObserver | EventLog) -> None:
        self._observers = observers

    def step_started(self, step: PlannedStep, phases: Sequence[Phase], missing: int, total: int) -> None:
        """See `pipelines.engine.runner.Observer`."""
        for observer in self._observers:
            observer.step_started(step, phases, missing, total)

    def unit_done(self, step: PlannedStep, phase: Phase, commit: Commit) -> None:
        """See `pipelines.engine.runner.Observer`."""
        for observer in self._observers:
            observer.unit_done(step, phase, commit)

    def unit_failed(self, step: PlannedStep, phase: Phase, failure: UnitFailure) -> None:
        """See `pipelines.engine.runner.Observer`."""
        for observer in self._observers:
            observer.unit_failed(step, phase, failure)

    def step_done(self, step: PlannedStep, summary: StepSummary, seconds: float) -> None:
        """See `pipelines.engine.runner.Observer`."""
        for observer in self._observers:
            observer.step_done(step, summary, seconds)
