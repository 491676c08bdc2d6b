"""What a long command shows: progress bars on a terminal, plain lines in a log file, events in the workspace."""

from __future__ import annotations

import json
import logging
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pipelines.engine.executor import UnitFailure
from pipelines.engine.runner import PlannedStep, StepSummary
from pipelines.engine.stage import Phase
from pipelines.engine.workspace import Commit, Workspace

_LINE_EVERY_SECONDS = 10.0
_LOG_WIDTH = 160


def make_console() -> Console:
    """The console for everything but results; results go to standard output."""
    # No markup: a message may well hold brackets, such as a tensor's shape or a box.
    width = None if sys.stderr.isatty() else _LOG_WIDTH  # a log file is as wide as its tables need
    return Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False, width=width)


def set_up_logging(verbose: bool) -> None:
    """Sends warnings (with `verbose` also information) to standard error."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    for name in ("aiobotocore", "botocore"):  # each opened store tells where its credentials and endpoint come from
        logging.getLogger(name).setLevel(logging.WARNING)


@dataclass
class _Phase:
    total: int
    done: int = 0
    keys: int = 0
    started: float = field(default_factory=time.monotonic)
    printed: float = field(default_factory=time.monotonic)


class ProgressObserver:
    """Shows progress, rate and time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._phases: dict[str, _Phase] = {}
        if console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=console,
            )
            self._bars.start()

    def close(self) -> None:
        """Ends the bars."""
        if self._bars is not None:
            self._bars.stop()

    def step_started(self, step: PlannedStep, phases: Sequence[Phase], missing: int, total: int) -> None:
        """Announces a step that has something to do."""
        if missing:
            kept = f", {total - missing} committed before" if missing < total else ""
            self._console.print(f"{step.name}: {missing} of {total} units to make{kept} ({step.spec.artifact})")

    def unit_done(self, step: PlannedStep, phase: Phase, commit: Commit) -> None:
        """Moves the phase's bar, or prints a line now and then."""
        name = step.name if phase.name == step.config.stage else f"{step.name}/{phase.name}"
        state = self._phases.setdefault(name, _Phase(len(phase.units), started=time.monotonic() - commit.seconds))
        state.done += 1
        state.keys += commit.done
        for entry in commit.quarantined:
            if entry.stage == step.config.stage:
                self._console.print(f"{name}: quarantined {entry.key}: {entry.reason}: {entry.detail}")
        spent = max(time.monotonic() - state.started, 1e-3)
        rate = f"{state.keys / spent:.1f} keys/s" if state.keys else f"{state.done / spent:.2f} units/s"
        if self._bars is not None:
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=state.total, rate="")
            self._bars.update(self._tasks[name], completed=state.done, rate=rate)
        elif time.monotonic() - state.printed > _LINE_EVERY_SECONDS:
            state.printed = time.monotonic()
            left = (state.total - state.done) * spent / state.done
            self._console.print(f"{name}: {state.done}/{state.total} units, {rate}, about {left:.0f} s left")

    def unit_failed(self, step: PlannedStep, phase: Phase, failure: UnitFailure) -> None:
        """Says at once what failed."""
        self._console.print(f"{step.name}: {failure.unit} failed after {failure.tries} tries: {failure.reason}")

    def step_done(self, step: PlannedStep, summary: StepSummary, seconds: float) -> None:
        """Sums a step up in one line."""
        aside = f", {summary.own_quarantined} quarantined" if summary.own_quarantined else ""
        self._console.print(f"{step.name}: done, {summary.units} units{aside}, {seconds:.1f} s")


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
