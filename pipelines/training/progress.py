"""How far a training is, told in its artifact's folder while it goes on.

    <artifact>/checkpoints/progress.json    written anew every few seconds, removed when the training ends

No result depends on it, and it is the one object that is written over: a driver shows it, and `sppnet status` does so
on any machine that reaches the workspace.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pipelines.engine.codec import decode, encode
from pipelines.engine.workspace import Artifact
from pipelines.training.checkpoints import FOLDER
from sppnet.errors import ArtifactError, SppError

logger = logging.getLogger(__name__)

_FIRST_SECONDS, _EVERY_SECONDS = 1.0, 5.0
_WINDOW = 6
"""Tellings over which a rate is taken."""
_POINTS = 100


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """What is told of a training.

    Attributes:
        step: Steps done.
        steps: Steps in all.
        loss: Mean over the steps since it was told last; None before the first.
        lr: Learning rate of the last step.
        examples: What a batch is of: `images` or `windows`.
        examples_per_second: Of late; None before there is a rate.
        seconds_left: By that rate; None before there is one.
        time: When this was told, seconds since the epoch, by the trainer's clock.
        points: The newest points of the curve, oldest first.
    """

    step: int
    steps: int
    loss: float | None
    lr: float | None
    examples: str
    examples_per_second: float | None
    seconds_left: float | None
    time: float
    points: tuple[dict[str, Any], ...] = ()

    @property
    def rate(self) -> str:
        """The rate and the loss in words."""
        parts = []
        if self.examples_per_second is not None:
            parts.append(f"{self.examples_per_second:.0f} {self.examples}/s")
        if self.loss is not None:
            parts.append(f"loss {self.loss:.4g}")
        if self.lr is not None:
            parts.append(f"lr {self.lr:.3g}")
        return ", ".join(parts)


def read_progress(artifact: Artifact) -> TrainingProgress | None:
    """Read how far an artifact's training is; None if none goes on, or a damaged object tells of it."""
    name = _name(artifact)
    try:
        return decode(TrainingProgress, artifact.store.read(name), name)
    except ArtifactError:
        return None


class ProgressWriter:
    """Tells how far a training is, from a thread: training never waits for the store.

    Args:
        artifact: What is trained.
        steps: Length of the training.
        batch: Examples of a step.
        examples: What they are.
    """

    def __init__(self, artifact: Artifact, steps: int, batch: int, examples: str) -> None:
        self._artifact = artifact
        self._steps, self._batch, self._examples = steps, batch, examples
        self._done = 0
        self._lr: float | None = None
        self._losses: list[float] = []
        self._points: deque[dict[str, Any]] = deque(maxlen=_POINTS)
        self._told: deque[tuple[float, int]] = deque(maxlen=_WINDOW)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell_often, name="training-progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def begin(self, step: int) -> None:
        """Note that training goes on after `step` steps: its rate is counted from here."""
        self._done = step
        self._told.append((time.monotonic(), step))

    def note(self, done: int, loss: float, lr: float) -> None:
        """Note a step: how many are done by it, its loss and its learning rate."""
        self._losses.append(loss)
        self._done, self._lr = done, lr

    def note_point(self, point: Mapping[str, Any]) -> None:
        """Note a point of the curve."""
        self._points.append(dict(point))

    def _tell_often(self) -> None:
        pause = _FIRST_SECONDS
        try:
            while not self._over.wait(pause):
                if self._told:
                    self._artifact.store.put(_name(self._artifact), encode(self._now()))
                pause = _EVERY_SECONDS
            self._artifact.store.delete(_name(self._artifact))
        except SppError as error:  # what a training is for does not need it
            logger.warning("how far the training is can't be told any more: %s", error)

    def _now(self) -> TrainingProgress:
        done, now = self._done, time.monotonic()
        losses, self._losses = self._losses, []
        since, before = self._told[0]
        self._told.append((now, done))
        speed = (done - before) / (now - since) if done > before and now > since else None
        return TrainingProgress(
            step=done,
            steps=self._steps,
            loss=sum(losses) / len(losses) if losses else None,
            lr=self._lr,
            examples=self._examples,
            examples_per_second=speed * self._batch if speed and self._batch else None,
            seconds_left=(self._steps - done) / speed if speed else None,
            time=time.time(),
            points=tuple(self._points),
        )


def _name(artifact: Artifact) -> str:
    return f"{artifact.name}/{FOLDER}/progress.json"
