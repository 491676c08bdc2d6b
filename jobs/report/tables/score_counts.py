"""What detections are right, wrong and missed from any score on: counts at operating scores, and on a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs.report.read.analysis import Analysis, tally
from sppnet.arrays import Float64s
from sppnet.evaluation.curves import TRUE_POSITIVE
from sppnet.evaluation.error_kinds import ERRORS

POINTS = 41
"""Scores of the grid."""
_TOP = 0.999  # of the right detections' scores: the grid's end


@dataclass(frozen=True, slots=True)
class CountRow:
    """What became of one category's detections from its operating score on.

    Attributes:
        category: Its name.
        score: The operating score; None without one.
        right: True positives.
        errors: False positives by kind, in the order of `ERRORS`.
        missed: Objects that no detection finds.
    """

    category: str
    score: float | None
    right: int
    errors: tuple[int, ...]
    missed: int


@dataclass(frozen=True, slots=True)
class ScoreCounts:
    """Counts by score.

    Attributes:
        rows: By category at the operating scores.
        total: The sum of them.
        grid: For the page's slider, plain values: `grid` scores, `operating` scores by category (null without one),
            and `counts` by category: right ones, then wrong ones by kind, a number for each score of the grid;
            `objects` by category.
    """

    rows: tuple[CountRow, ...]
    total: CountRow
    grid: Mapping[str, Any]


def score_counts(analysis: Analysis) -> ScoreCounts:
    """Count detections from the operating scores on, and from scores of a grid on."""
    operating, grid = analysis.operating, score_grid(analysis)
    rows, counts = [], []
    for one, weakness, score in zip(analysis.judged, analysis.weaknesses, operating, strict=True):
        found = tally(one, weakness.objects, np.append(grid, score))
        rows.append(
            CountRow(
                weakness.category,
                None if np.isinf(score) else float(score),
                int(found.right[-1]),
                tuple(found.errors[:, -1].tolist()),
                int(found.missed[-1]),
            )
        )
        counts.append([found.right[:-1].tolist(), *found.errors[:, :-1].tolist()])
    return ScoreCounts(
        tuple(rows),
        _total(rows),
        {
            "grid": grid.tolist(),
            "operating": [row.score for row in rows],
            "objects": [weakness.objects for weakness in analysis.weaknesses],
            "counts": counts,
        },
    )


def score_grid(analysis: Analysis) -> Float64s:
    """Return scores, rising and evenly spaced, from the lowest of any detection to nearly the highest right one."""
    scores = np.concatenate([np.zeros(0), *(one.scores for one in analysis.judged)])
    right = np.concatenate([np.zeros(0), *(one.scores[one.outcomes == TRUE_POSITIVE] for one in analysis.judged)])
    if not len(scores):
        return np.zeros(1)
    low, high = float(scores.min()), float(np.quantile(right if len(right) else scores, _TOP))
    return np.round(np.linspace(low, max(low, high), POINTS), 3)


def _total(rows: Sequence[CountRow]) -> CountRow:
    errors = tuple(sum(row.errors[kind] for row in rows) for kind in range(len(ERRORS)))
    return CountRow("all", None, sum(row.right for row in rows), errors, sum(row.missed for row in rows))
