"""What a long command shows of its run: progress bars on a terminal, plain lines in a log file."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from jobs.formatting import count, duration
from jobs.run.training_watch import TrainingWatch
from pipelines.engine.commits import Commit, Quarantined
from pipelines.engine.executor import UnitFailure
from pipelines.engine.ledger import StepSummary
from pipelines.engine.phases import Phase
from pipelines.engine.planning import PlannedStep
from pipelines.training.progress import TrainingProgress

_LINE_EVERY_SECONDS = 10.0


@dataclass
class _Phase:
    """How far a phase is. Time left goes by what units cost: the largest may well come first."""

    left: dict[str, float]
    done: int = 0
    done_cost: float = 0.0
    keys: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def total(self) -> int:
        return self.done + len(self.left)

    def note(self, commit: Commit) -> None:
        self.done += 1
        self.done_cost += self.left.pop(commit.unit, 0.0)
        self.keys += commit.done

    def rate(self) -> str:
        spent = self._spent()
        return f"{self.keys / spent:.1f} keys/s" if self.keys else f"{self.done / spent:.2f} units/s"

    def seconds_left(self) -> float:
        return sum(self.left.values()) * self._spent() / self.done_cost if self.done_cost else 0.0

    def _spent(self) -> float:
        return max(time.monotonic() - self.started, 1e-3)


class ProgressObserver:
    """Shows progress, rate and time left of phases, and step, rate, loss and time left of trainings."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._phases: dict[tuple[str, str], _Phase] = {}
        self._told: set[tuple[str, Quarantined]] = set()
        self._shown = _Bars(console) if console.is_terminal else _Lines(console)
        self._trainings = TrainingWatch(self._training_told)

    def close(self) -> None:
        """End the bars."""
        self._trainings.close()
        self._shown.close()

    def step_started(self, step: PlannedStep, phases: Sequence[Phase], missing: Collection[str], total: int) -> None:
        """Announce a step that has something to do."""
        if not missing:
            return
        kept = f", {total - len(missing)} committed before" if len(missing) < total else ""
        self._console.print(f"{step.name}: {len(missing)} of {total} units to make{kept} ({step.spec.artifact})")
        to_make = set(missing)
        for phase in phases:
            costs = {unit: cost for unit, cost in phase.cost_by_unit().items() if unit in to_make}
            self._phases[step.name, phase.name] = _Phase(costs)
            if phase.workers and costs:
                self._trainings.add(step)

    def unit_done(self, step: PlannedStep, phase: Phase, commit: Commit) -> None:
        """Move the phase's bar, or print a line now and then."""
        state = self._phases[step.name, phase.name]
        if not state.done:
            state.started = time.monotonic() - commit.seconds
        state.note(commit)
        self._tell_quarantined(step, commit)
        if phase.workers:
            self._trainings.remove(step)
            self._shown.end(_training(step.name))
            return
        name = step.name if phase.name == step.config.stage else f"{step.name}/{phase.name}"
        self._shown.move(name, "units", state.done, state.total, state.rate(), state.seconds_left())
        if not state.left:
            self._shown.end(name)

    def _training_told(self, step: str, found: TrainingProgress) -> None:
        self._shown.move(_training(step), "steps", found.step, found.steps, found.rate, found.seconds_left)

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


def _training(step: str) -> str:
    return f"{step}/train"


class _Lines:
    """A line of what goes on every ten seconds, with its time."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._printed: dict[str, float] = {}

    def move(self, name: str, what: str, done: int, total: int, rate: str, left: float | None) -> None:
        now = time.monotonic()
        if now - self._printed.setdefault(name, now) <= _LINE_EVERY_SECONDS:
            return
        self._printed[name] = now
        parts = [f"{count(done)}/{count(total)} {what}", rate, "" if left is None else f"about {duration(left)} left"]
        self._console.print(f"{time.strftime('%H:%M:%S')} {name}: {', '.join(part for part in parts if part)}")

    def end(self, name: str) -> None:
        self._printed.pop(name, None)

    def close(self) -> None:
        """There is nothing to end."""


class _Bars:
    """A bar for each thing that goes on; one that is done goes away."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[left]}"),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()
        self._bars.start()

    def move(self, name: str, what: str, done: int, total: int, rate: str, left: float | None) -> None:
        del what
        with self._lock:
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, rate="", left="")
            shown = "" if left is None else f"{duration(left)} left"
            self._bars.update(self._tasks[name], completed=done, total=total, rate=rate, left=shown)

    def end(self, name: str) -> None:
        with self._lock:
            if name in self._tasks:
                self._bars.remove_task(self._tasks.pop(name))

    def close(self) -> None:
        self._bars.stop()
