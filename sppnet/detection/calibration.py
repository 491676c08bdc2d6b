"""Scores as log-odds of being right, so that those of different detectors can be compared (Platt scaling).

The paper compares the scores of two models as they are (section 4.4), which asks for models that are alike. Here each
category of a detector gets a rising line from its SVM's scores to the logarithm of the odds that a detection of that
score is right, `log(p / (1 - p))`: 0 is as likely right as wrong. Its two numbers are those of J. Platt's
"Probabilistic outputs for support vector machines" (1999), with his targets, found by Newton's method as by Lin, Lin
and Weng (2007). Log-odds and not probabilities are kept: a line loses no order, not even of scores whose probabilities
are too near to 1 for a float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sppnet.arrays import Bools, Float32s, Float64s

_STEPS = 100
_HALVINGS = 40


@dataclass(frozen=True, slots=True)
class LogOdds:
    """The line of one category: `slope * score + offset` are a score's log-odds of being right.

    Attributes:
        slope: Log-odds a unit of score.
        offset: Log-odds at score 0.
    """

    slope: float
    offset: float

    @property
    def rises(self) -> bool:
        """Whether a higher score is likelier right: only then are detections in the same order as before."""
        return self.slope > 0


def fit_log_odds(scores: Float64s, right: Bools) -> LogOdds:
    """Fit a category's line to detections of which is known whether they are right.

    Platt's targets hold the line back where examples are few: a right one counts as `(r + 1) / (r + 2)` right, a wrong
    one as `1 / (w + 2)`, of `r` right and `w` wrong ones.

    Args:
        scores: float64 `[n]`, one detection at least.
        right: bool `[n]`.
    """
    hits = int(np.count_nonzero(right))
    targets = np.where(right, (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2))
    # Centred and scaled scores make both numbers of one size, whatever the SVMs' margins are.
    center, spread = float(scores.mean()), float(scores.std()) or 1.0
    rows = np.stack([(scores - center) / spread, np.ones(len(scores))], axis=1)
    line = np.array([0.0, np.log((hits + 1) / (len(right) - hits + 1))])
    for _ in range(_STEPS):
        chances = 0.5 * (1 + np.tanh(0.5 * (rows @ line)))
        slopes = rows.T @ (chances - targets)
        if np.abs(slopes).max() <= 1e-10 * len(rows):
            break
        curvature = (rows * (chances * (1 - chances))[:, None]).T @ rows + 1e-12 * np.eye(2)
        line = _descend(rows, targets, line, np.linalg.solve(curvature, slopes), slopes)
    slope = float(line[0]) / spread
    return LogOdds(slope, float(line[1]) - slope * center)


def log_odds(scores: Float32s, lines: Sequence[LogOdds]) -> Float32s:
    """Return the log-odds of scores, float32 `[n, K]`, of `K` categories with a line each."""
    slopes, offsets = (np.array([getattr(line, name) for line in lines]) for name in ("slope", "offset"))
    return np.asarray(scores * slopes + offsets, np.float32)


def _descend(rows: Float64s, targets: Float64s, line: Float64s, step: Float64s, slopes: Float64s) -> Float64s:
    """Go down by Newton's step, halved until the loss falls enough; where it can't any more, the line stays."""
    before, fall = _loss(rows, targets, line), float(slopes @ step)
    for halving in range(_HALVINGS):
        part = 0.5**halving
        if _loss(rows, targets, line - part * step) <= before - 1e-4 * part * fall:
            return line - part * step
    return line


def _loss(rows: Float64s, targets: Float64s, line: Float64s) -> float:
    values = rows @ line
    return float((np.logaddexp(0.0, values) - targets * values).sum())
