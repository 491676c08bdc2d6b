"""What the report shows of how a detector is made, and of what it costs an image (the paper's Tables 9 and 10)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DetectorAccount:
    """How a detector is made and what it took. A union of detectors has several values of what they differ in.

    Attributes:
        features: What the SVMs look at, for a person: `pool5`, `fc7, fine-tuned`, `fc6, as pre-trained`.
        scales: Short sides of the maps that it reads, rising, or the side of R-CNN's crops, in pixels.
        windows: Names of the steps of its windows.
        backbones: Names of the steps of its networks.
        sources: What its windows are pooled from: `maps`, `crops` (R-CNN's way) or both.
        convolution: Worker seconds an image to make the maps that it reads; None without maps, or where their commits
            are gone.
        scoring: Worker seconds an image to score; with crops, their convolutions are part of it. None likewise.
        pooling: What of scoring is for the windows' features: pooling and fc layers, or R-CNN's crops; None likewise.
        svm: What of scoring is for the SVMs; None likewise.
        regresses: Whether scoring includes box regression, whichever of both kinds of boxes the row judges.
    """

    features: tuple[str, ...]
    scales: tuple[int, ...]
    windows: tuple[str, ...]
    backbones: tuple[str, ...]
    sources: tuple[str, ...]
    convolution: float | None
    scoring: float | None
    pooling: float | None = None
    svm: float | None = None
    regresses: bool = False

    @property
    def total(self) -> float | None:
        """Worker seconds an image in all; None where a part of them is not known."""
        if "maps" not in self.sources:
            return self.scoring
        return None if self.convolution is None or self.scoring is None else self.convolution + self.scoring
