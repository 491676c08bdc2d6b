"""What happens during a run, written to the run's folder: a file for each attempt."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from jobs.run.history import EVENTS, RunFolder
from pipelines.engine.executor import UnitFailure
from pipelines.engine.ledger import StepSummary
from pipelines.engine.planning import PlannedStep
from pipelines.engine.stage import Phase
from pipelines.engine.workspace import Commit


class EventLog:
    """An observer that writes `events/<start>-<id>.jsonl` in a run's folder."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        start = datetime.now(UTC)  # to the microsecond: the newest attempt is the last of the listing
        self._file = f"{EVENTS}/{start:%Y%m%dT%H%M%S.%fZ}-{uuid.uuid4().hex[:6]}.jsonl"
        self._lines: list[str] = []

    def record(self, event: str, **fields: Any) -> None:
        """Add one event."""
        self._lines.append(json.dumps({"time": round(time.time(), 3), "event": event, **fields}, sort_keys=True))

    def flush(self) -> None:
        """Publish what was recorded so far."""
        self._folder.write(self._file, ("\n".join(self._lines) + "\n").encode())

    def step_started(self, step: PlannedStep, phases: Sequence[Phase], missing: Collection[str], total: int) -> None:
        """Record that a step begins."""
        if missing:
            self.record("step_started", step=step.name, artifact=step.spec.artifact, missing=len(missing), total=total)

    def unit_done(self, step: PlannedStep, phase: Phase, commit: Commit) -> None:
        """Record a unit."""
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
        """Record a failure, and publish at once."""
        self.record("unit_failed", step=step.name, unit=failure.unit, reason=failure.reason, tries=failure.tries)
        self.flush()

    def step_done(self, step: PlannedStep, summary: StepSummary, seconds: float) -> None:
        """Record the end of a step, and publish."""
        self.record("step_done", step=step.name, units=summary.units, seconds=round(seconds, 3))
        self.flush()
