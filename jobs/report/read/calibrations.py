"""What calibrate steps found out: what a detector's scores mean, category by category."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.artifacts.calibrations import Calibration
from pipelines.engine.codec import decode

KIND = "calibration"
"""Kind of artifact that calibrate steps make."""


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """The line of one category.

    Attributes:
        category: As people call it.
        right: Held-out detections that are right.
        wrong: Held-out detections that are wrong.
        slope: Log-odds of being right a unit of score.
        offset: Log-odds at score 0.
        own: Whether the line was fitted to these detections; else to those of all categories.
    """

    category: str
    right: int
    wrong: int
    slope: float
    offset: float
    own: bool

    @property
    def even(self) -> float:
        """The score at which a detection is as likely right as wrong."""
        return -self.offset / self.slope


@dataclass(frozen=True, slots=True)
class ScoreMeanings:
    """What one calibrate step found out.

    Attributes:
        step: The step's name.
        split: The split that its lines were fitted on.
        rows: By category.
    """

    step: str
    split: str
    rows: tuple[CalibrationRow, ...]


def read_meanings(data: bytes, step: str, words: Mapping[str, str], where: str) -> ScoreMeanings:
    """Read what a calibrate step wrote.

    Args:
        data: The bytes.
        step: The step's name.
        words: What people call categories, where that is something else.
        where: What the bytes are, for the error's message.

    Raises:
        ArtifactError: The bytes are something else.
    """
    found = decode(Calibration, data, where)
    rows = (
        CalibrationRow(words.get(name, name), line.right, line.wrong, line.slope, line.offset, line.own)
        for name, line in found.categories.items()
    )
    return ScoreMeanings(step, found.split, tuple(rows))
