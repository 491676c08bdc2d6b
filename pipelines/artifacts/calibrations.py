"""What a `calibration` artifact holds: one JSON object, the line of each category of a detector."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.engine.records import read_unit
from pipelines.engine.workspace import Artifact
from sppnet.detection.calibration import LogOdds

UNIT = "calibration"
"""The unit that holds it."""


@dataclass(frozen=True, slots=True)
class CategoryCalibration:
    """The line of one category.

    Attributes:
        slope: Log-odds of being right a unit of score, above 0.
        offset: Log-odds at score 0.
        right: Held-out detections that are right.
        wrong: Held-out detections that are wrong.
        own: Whether the line was fitted to these; else to the detections of all categories.
    """

    slope: float
    offset: float
    right: int
    wrong: int
    own: bool

    def __post_init__(self) -> None:
        """Raise `ValueError` for a line that does not rise: higher scores are likelier right."""
        if not (self.slope > 0 and math.isfinite(self.slope) and math.isfinite(self.offset)):
            raise ValueError(f"a line of slope {self.slope} and offset {self.offset}")


@dataclass(frozen=True, slots=True)
class Calibration:
    """The lines of a detector.

    Attributes:
        detector: Names of the artifacts of its SVMs and box regressors.
        split: The split that they were fitted on.
        categories: By category.
    """

    detector: tuple[str, ...]
    split: str
    categories: Mapping[str, CategoryCalibration]

    @classmethod
    def read(cls, artifact: Artifact) -> Calibration:
        """Read it from its artifact; raise `ArtifactError` if it is missing or corrupt."""
        return read_unit(cls, artifact, UNIT)

    def lines(self, categories: tuple[str, ...]) -> tuple[LogOdds, ...]:
        """Return the lines of some of its categories, in order."""
        return tuple(LogOdds(self.categories[name].slope, self.categories[name].offset) for name in categories)
