"""The curves of a run's trainings, followed while they train and handed on point by point, each once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from jobs.report.read.training import read_curve
from jobs.run.training_watch import TrainingWatch
from pipelines.engine.commits import Commit
from pipelines.engine.executor import UnitFailure
from pipelines.engine.ledger import StepSummary
from pipelines.engine.phases import Phase
from pipelines.engine.planning import PlannedStep
from pipelines.engine.workspace import Workspace
from pipelines.training.progress import TrainingProgress
from sppnet.networks.weights import read_metadata

logger = logging.getLogger(__name__)


class CurvesLostError(Exception):
    """What takes the curves can't be reached any more, or refuses them."""


@contextmanager
def lost_by(errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Say of what is raised inside that the curves are lost: by its name, since its words may hold a password."""
    try:
        yield
    except errors as error:
        raise CurvesLostError(type(error).__name__) from error


class CurveSink(Protocol):
    """What takes the curves: TensorBoard's files, MLflow, W&B.

    Attributes:
        option: The option that asked for it, for messages.
    """

    option: str

    def write(self, step: str, number: int, values: Mapping[str, float]) -> None:
        """Take a point of a step's curve.

        Args:
            step: The recipe's step.
            number: Training steps done.
            values: What was measured then, by name.

        Raises:
            CurvesLostError: It can't be.
        """

    def flush(self) -> None:
        """Let readers see what was written; raises like `write`."""

    def close(self) -> None:
        """Write what is waiting; raises like `write`."""


class CurveObserver:
    """An observer that hands the points of trainings to a sink. One that fails is told of and left alone.

    Args:
        sink: What takes them.
    """

    def __init__(self, sink: CurveSink) -> None:
        self._sink: CurveSink | None = sink
        self._written: dict[str, float] = {}
        self._lock = threading.Lock()
        self._watch = TrainingWatch(self._told)

    def close(self) -> None:
        """Write what is waiting."""
        self._watch.close()
        with self._lock:
            if self._sink is None:
                return
            try:
                self._sink.close()
            except CurvesLostError as error:
                self._give_up(error)

    def step_started(self, step: PlannedStep, phases: Sequence[Phase], missing: Collection[str], total: int) -> None:
        """Watch a training that is to be done."""
        if any(phase.workers and not set(phase.units).isdisjoint(missing) for phase in phases):
            self._watch.add(step)

    def unit_done(self, step: PlannedStep, phase: Phase, commit: Commit) -> None:
        """Write what is left of a training's curve: what it published has all of it."""
        if phase.workers:
            self._watch.remove(step)
            artifact = Workspace.open(step.spec.workspace).artifact(step.spec.artifact)
            where = f"{artifact.name}/{commit.unit}"
            self._write(step.name, read_curve(read_metadata(artifact.read(commit.unit), where), where))

    def unit_failed(self, step: PlannedStep, phase: Phase, failure: UnitFailure) -> None:
        """Go on: what was written stays."""

    def step_done(self, step: PlannedStep, summary: StepSummary, seconds: float) -> None:
        """Go on: its training was written when it ended."""

    def _told(self, step: str, found: TrainingProgress) -> None:
        self._write(step, found.points)

    def _write(self, step: str, points: Iterable[Mapping[str, Any]]) -> None:
        with self._lock:
            if self._sink is None:
                return
            try:
                last = self._written.get(step, -1)
                for point in points:
                    if point["step"] > last:
                        last = point["step"]
                        values = {name: value for name, value in point.items() if name != "step"}
                        self._sink.write(step, int(last), values)
                self._written[step] = last
                self._sink.flush()
            except CurvesLostError as error:
                self._give_up(error)

    def _give_up(self, error: CurvesLostError) -> None:
        """Leave the sink alone from now on: a run is not ended by what watches it."""
        if self._sink is not None:
            logger.warning("%s: no more curves are written there: %s", self._sink.option, error)
        self._sink = None
