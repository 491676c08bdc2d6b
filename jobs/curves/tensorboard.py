"""The curves of a run's trainings as TensorBoard's event files, written while they train."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.report.read.training import read_curve
from jobs.run.training_watch import TrainingWatch
from pipelines.engine.executor import UnitFailure
from pipelines.engine.ledger import StepSummary
from pipelines.engine.planning import PlannedStep
from pipelines.engine.stage import Phase
from pipelines.engine.workspace import Commit, Workspace
from pipelines.training.progress import TrainingProgress
from sppnet.errors import ConfigError
from sppnet.networks.weights import read_metadata

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoardCurves:
    """An observer that writes `<folder>/<run>/<step>/events.out.tfevents...`: loss, lr and what is measured, by step.

    Args:
        folder: A local folder; `tensorboard --logdir` shows it.
        run: The run's name.

    Raises:
        ConfigError: TensorBoard is not installed, or the folder can't be made.
    """

    def __init__(self, folder: str, run: str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError("--tensorboard needs TensorBoard: pip install 'sppnet[tensorboard]'") from error
        self._make = SummaryWriter
        self._folder = Path(folder, run)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"--tensorboard {folder}: {error.strerror or error}; give a folder to write to"
            ) from error
        self._writers: dict[str, SummaryWriter] = {}
        self._written: dict[str, float] = {}
        self._lock = threading.Lock()
        self._watch = TrainingWatch(self._told)

    def close(self) -> None:
        """Write what is waiting."""
        self._watch.close()
        with self._lock:
            for writer in self._writers.values():
                writer.close()

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
            if step not in self._writers:
                self._writers[step] = self._make(str(self._folder / step))
            writer, last = self._writers[step], self._written.get(step, -1)
            for point in points:
                if point["step"] <= last:
                    continue
                last = point["step"]
                for name, value in point.items():
                    if name != "step":
                        writer.add_scalar(name, value, int(last))
            self._written[step] = last
            writer.flush()
