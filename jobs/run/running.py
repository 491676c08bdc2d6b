"""What a run is doing that goes on, perhaps on another machine: from its events and its trainings' own words."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jobs.formatting import count, duration
from jobs.run.training_watch import STALE_SECONDS
from pipelines.engine.phases import Phase
from pipelines.engine.runner import StepStatus
from pipelines.engine.workspace import Workspace
from pipelines.training.progress import TrainingProgress, read_progress


@dataclass(frozen=True, slots=True)
class Activity:
    """What a step is doing.

    Attributes:
        phase: The phase that it is in.
        done: Units of the phase that are committed.
        total: Units of the phase.
        keys_per_second: Of this attempt; None in phases without keys, and in trainings.
        seconds_left: Of the phase, by what its units cost; None before it is known.
        reasons: Why this attempt set keys aside, and how many.
        training: How far a training is.
    """

    phase: str
    done: int
    total: int
    keys_per_second: float | None
    seconds_left: float | None
    reasons: Mapping[str, int]
    training: TrainingProgress | None = None

    def describe(self) -> str:
        """Say it in a few words."""
        found = self.training
        if found is not None:
            parts = [f"{self.phase}: {count(found.step)}/{count(found.steps)} steps", found.rate]
        else:
            rate = "" if self.keys_per_second is None else f"{self.keys_per_second:.1f} keys/s"
            parts = [f"{self.phase}: {count(self.done)}/{count(self.total)}", rate]
        if self.seconds_left is not None:
            parts.append(f"{duration(self.seconds_left)} left")
        return ", ".join(part for part in parts if part)

    def fields(self) -> dict[str, Any]:
        """Tell it as plain values."""
        fields = asdict(self)
        if fields["training"] is not None:
            del fields["training"]["points"]
        return fields


def activity(status: StepStatus, events: Sequence[Mapping[str, Any]]) -> Activity | None:
    """Find out what a step of a run that goes on is doing; None if it has not begun, or has ended.

    Args:
        status: What exists of the step.
        events: The events of the run's newest attempt.
    """
    own = [event for event in events if event.get("step") == status.step.name]
    kinds = {event["event"] for event in own}
    if "step_started" not in kinds or "step_done" in kinds:
        return None
    made = [event for event in own if event["event"] == "unit_done"]
    reasons = sum((Counter(event.get("reasons", {})) for event in made), Counter[str]())
    phase = _phase(status)
    if phase is None:
        return None
    if phase.workers:
        found = _training(status)
        left = None if found is None else found.seconds_left
        return Activity(phase.name, 0, len(phase.units), None, left, reasons, found)
    return _units(phase, status, [event for event in made if event.get("phase") == phase.name], reasons)


def _phase(status: StepStatus) -> Phase | None:
    """Return the first phase that is not complete: phases follow one another."""
    return next((phase for phase in status.phases if not status.made.issuperset(phase.units)), None)


def _training(status: StepStatus) -> TrainingProgress | None:
    spec = status.step.spec
    found = read_progress(Workspace.open(spec.workspace).artifact(spec.artifact))
    return None if found is None or time.time() - found.time > STALE_SECONDS else found


def _units(phase: Phase, status: StepStatus, made: Sequence[Mapping[str, Any]], reasons: Mapping[str, int]) -> Activity:
    costs = phase.cost_by_unit()
    done = len(status.made.intersection(costs))
    if not made:
        return Activity(phase.name, done, len(costs), None, None, reasons)
    spent = max(made[-1]["time"] - (made[0]["time"] - made[0]["seconds"]), 1e-3)
    cost = sum(costs.get(event["unit"], 0.0) for event in made)
    left = sum(each for unit, each in costs.items() if unit not in status.made)
    keys = sum(event["done"] for event in made)
    return Activity(
        phase.name,
        done,
        len(costs),
        round(keys / spent, 3) if keys else None,
        round(left * spent / cost, 1) if cost else None,
        reasons,
    )
