"""Looks how far the trainings of a run are, wherever they train: they tell it in their artifacts' folders."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from pipelines.engine.planning import PlannedStep
from pipelines.engine.workspace import Artifact, Workspace
from pipelines.training.progress import TrainingProgress, read_progress
from sppnet.errors import SppError

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
STALE_SECONDS = 60.0
"""Age by which a training has ended without saying so, if the clocks agree."""


class TrainingWatch:
    """A thread that looks every few seconds, as long as there is a training to look at.

    Args:
        tell: Is called from the thread with a step's name and what is new of its training.
    """

    def __init__(self, tell: Callable[[str, TrainingProgress], None]) -> None:
        self._tell = tell
        self._trained: dict[str, Artifact] = {}
        self._told: dict[str, float] = {}
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, step: PlannedStep) -> None:
        """Look at a step's training from now on."""
        self._trained[step.name] = Workspace.open(step.spec.workspace).artifact(step.spec.artifact)
        if self._thread is None:
            self._thread = threading.Thread(target=self._look_often, name="training-watch", daemon=True)
            self._thread.start()

    def remove(self, step: PlannedStep) -> None:
        """Look at a step's training no more."""
        self._trained.pop(step.name, None)

    def close(self) -> None:
        """End the thread; a look that a store holds up is not waited for."""
        self._over.set()

    def _look_often(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            for name, artifact in list(self._trained.items()):
                try:
                    self._look(name, artifact)
                except SppError as error:  # a store that is away: the run itself meets it, and says so
                    logger.debug("step %s: how far its training is can't be read: %s", name, error)

    def _look(self, name: str, artifact: Artifact) -> None:
        found = read_progress(artifact)
        if found is None or found.time == self._told.get(name):
            return
        first, self._told[name] = name not in self._told, found.time
        if first and time.time() - found.time > STALE_SECONDS:
            return  # of an attempt that was killed
        if name in self._trained:
            self._tell(name, found)
