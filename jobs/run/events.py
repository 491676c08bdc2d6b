"""What happens during a run, written to the run's folder: a file for each attempt."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from jobs.run.history import EVENTS, RunFolder
from pipelines.engine.commits import Commit
from pipelines.engine.executor import UnitFailure
from pipelines.engine.ledger import StepSummary
from pipelines.engine.phases import Phase
from pipelines.engine.planning import PlannedStep
from sppnet.errors import SppError

logger = logging.getLogger(__name__)

BEAT_SECONDS = 30.0
"""Every so often a run that goes on writes its events, so that others see how far it is, and that it lives."""


class EventLog:
    """An observer that writes `events/<start>-<id>.jsonl` in a run's folder."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        start = datetime.now(UTC)  # to the microsecond: the newest attempt is the last of the listing
        self._file = f"{EVENTS}/{start:%Y%m%dT%H%M%S.%fZ}-{uuid.uuid4().hex[:6]}.jsonl"
        self._lines: list[str] = []
        self._writing = threading.Lock()
        self._over = threading.Event()

    def begin(self) -> None:
        """Publish now, and every half a minute from now on, until `end`."""
        self.flush()
        threading.Thread(target=self._beat, name="events", daemon=True).start()

    def end(self) -> None:
        """Publish for the last time."""
        self._over.set()
        self.flush()

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            try:
                self.flush()
            except SppError as error:  # the run itself meets a store that is away, and says so
                logger.debug("events can't be written: %s", error)

    def record(self, event: str, **fields: Any) -> None:
        """Add one event."""
        self._lines.append(json.dumps({"time": round(time.time(), 3), "event": event, **fields}, sort_keys=True))

    def flush(self) -> None:
        """Publish what was recorded so far."""
        with self._writing:
            self._folder.write(self._file, ("\n".join([*self._lines]) + "\n").encode())

    def step_started(self, step: PlannedStep, phases: Sequence[Phase], missing: Collection[str], total: int) -> None:
        """Record that a step begins."""
        if missing:
            self.record("step_started", step=step.name, artifact=step.spec.artifact, missing=len(missing), total=total)

    def unit_done(self, step: PlannedStep, phase: Phase, commit: Commit) -> None:
        """Record a unit."""
        self.record(
            "unit_done",
            step=step.name,
            phase=phase.name,
            unit=commit.unit,
            seconds=commit.seconds,
            done=commit.done,
            quarantined=len(commit.quarantined),
            reasons=Counter(entry.reason for entry in commit.quarantined if entry.stage == step.config.stage),
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
