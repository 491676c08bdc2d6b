"""What a long command shows of its run: progress bars on a terminal, plain lines in a log file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pipelines.engine.executor import UnitFailure
from pipelines.engine.ledger import StepSummary
from pipelines.engine.planning import PlannedStep
from pipelines.engine.stage import Phase
from pipelines.engine.workspace import Commit, Quarantined

_LINE_EVERY_SECONDS = 10.0


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
        self._told: set[tuple[str, Quarantined]] = set()
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
        """End the bars."""
        if self._bars is not None:
            self._bars.stop()

    def step_started(self, step: PlannedStep, phases: Sequence[Phase], missing: int, total: int) -> None:
        """Announce a step that has something to do."""
        if missing:
            kept = f", {total - missing} committed before" if missing < total else ""
            self._console.print(f"{step.name}: {missing} of {total} units to make{kept} ({step.spec.artifact})")

    def unit_done(self, step: PlannedStep, phase: Phase, commit: Commit) -> None:
        """Move the phase's bar, or prints a line now and then."""
        name = step.name if phase.name == step.config.stage else f"{step.name}/{phase.name}"
        state = self._phases.setdefault(name, _Phase(len(phase.units), started=time.monotonic() - commit.seconds))
        state.done += 1
        state.keys += commit.done
        self._tell_quarantined(step, commit)
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

    def _tell_quarantined(self, step: PlannedStep, commit: Commit) -> None:
        """Say which keys the step itself set aside, each once: later units carry them along."""
        for entry in commit.quarantined:
            if entry.stage == step.config.stage and (step.name, entry) not in self._told:
                self._told.add((step.name, entry))
                self._console.print(f"{step.name}: quarantined {entry.key}: {entry.reason}: {entry.detail}")

    def unit_failed(self, step: PlannedStep, phase: Phase, failure: UnitFailure) -> None:
        """Say at once what failed."""
        self._console.print(f"{step.name}: {failure.unit} failed after {failure.tries} tries: {failure.reason}")

    def step_done(self, step: PlannedStep, summary: StepSummary, seconds: float) -> None:
        """Sum a step up in one line."""
        aside = f", {summary.own_quarantined} quarantined" if summary.own_quarantined else ""
        self._console.print(f"{step.name}: done, {summary.units} units{aside}, {seconds:.1f} s")
