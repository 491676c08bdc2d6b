"""Why the detector is weak: every error of its detections, by category, and what it costs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jobs.report.read.proposed import NOT_PROPOSED, PROPOSED, UNKNOWN, proposed_objects
from jobs.report.read.split_objects import Source
from sppnet.arrays import Float64s, Integers
from sppnet.evaluation.by_size import size_aps
from sppnet.evaluation.curves import TRUE_POSITIVE, area_ap, eleven_point_ap
from sppnet.evaluation.error_kinds import (
    CLASSIFICATION,
    ERRORS,
    JudgedDetections,
    error_costs,
    judge_errors,
    missed_objects,
)
from sppnet.seeds import derive_seed

NO_PROPOSAL, LOW_SCORE, MISSED = "no proposal", "low score", "missed"
"""Parts of the missed objects; all of them together where the windows of some are not known."""
_CONFUSED_WITH = 3
_ROUNDED = 1e-6
"""Operating scores are stored rounded to this, and may be a little above the score that they are."""


@dataclass(frozen=True)
class Weakness:
    """Why one category's AP is no higher.

    Attributes:
        category: Its name.
        ap: AP, 0..1; None without objects.
        objects: Objects to find.
        sizes: AP by size, 0..1; None without objects of a size.
        recall: Share of its objects that a window overlaps enough; None where no windows are known.
        costs: What AP would gain by the kind of error, 0..1: `ERRORS`, then the parts of the missed ones.
        confused: Other categories whose objects are detected as this one from the operating score on, and how often.
    """

    category: str
    ap: float | None
    objects: int
    sizes: Mapping[str, float | None]
    recall: float | None
    costs: Mapping[str, float]
    confused: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Analysis:
    """All detections of a detector, judged.

    Attributes:
        source: Where they are.
        judged: By category, in the order of the detector's.
        weaknesses: Likewise.
        units: Shards whose windows were looked at.
    """

    source: Source
    judged: tuple[JudgedDetections, ...]
    weaknesses: tuple[Weakness, ...]
    units: tuple[str, ...]

    @cached_property
    def operating(self) -> Float64s:
        """Score from which each category's detections are drawn; infinite without one."""
        rows = self.source.row.categories
        scores = [rows[one.category].operating_score if one.category in rows else None for one in self.weaknesses]
        return np.array([np.inf if score is None else score - _ROUNDED for score in scores])

    @property
    def mean_costs(self) -> Mapping[str, float]:
        """What mAP would gain by the kind of error: the mean over the categories that have objects."""
        counted = [one.costs for one in self.weaknesses if one.ap is not None]
        names = counted[0] if counted else ()
        return {name: float(np.mean([costs[name] for costs in counted])) for name in names}


def analyse(source: Source, shards: int) -> Analysis:
    """Judge all detections of the split; images are not read.

    Args:
        source: The detector.
        shards: Windows of at most so many shards are looked at; of more, so many are drawn by lot.

    Raises:
        ArtifactError: Detections, annotations or windows are missing or corrupt.
    """
    truth = source.objects
    judged = [judge_errors(truth, number, *pair) for number, pair in enumerate(source.judged())]
    units = _by_lot(source.units, shards, source.seed)
    proposed = proposed_objects(source, units)
    average_precision = eleven_point_ap if source.evaluation.protocol == "voc" else area_ap
    missed = missed_objects(judged, truth)
    parts = {NO_PROPOSAL: missed & (proposed == NOT_PROPOSED), LOW_SCORE: missed & (proposed == PROPOSED)}
    if (missed & (proposed == UNKNOWN)).any() or not len(proposed):
        parts = {MISSED: missed}
    costs = error_costs(judged, truth, average_precision, parts)
    weaknesses = [
        Weakness(
            category=source.word(source.names[one.category]),
            ap=_known(cost.ap),
            objects=int(np.count_nonzero(truth.counted(one.category))),
            sizes={name: _known(ap) for name, ap in size_aps(one, truth, average_precision).items()},
            recall=_recall(proposed[truth.counted(one.category)]),
            costs=cost.costs,
            confused=_confused(source, one),
        )
        for one, cost in zip(judged, costs, strict=True)
    ]
    return Analysis(source, tuple(judged), tuple(weaknesses), tuple(units))


def _by_lot(units: Sequence[str], at_most: int, seed: int) -> Sequence[str]:
    if len(units) <= at_most:
        return units
    return sorted(random.Random(derive_seed(seed, "report", "shards")).sample(units, at_most))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _recall(proposed: NDArray[np.int8]) -> float | None:
    known = proposed[proposed != UNKNOWN]
    return float(np.mean(known == PROPOSED)) if len(known) else None


def _confused(source: Source, one: JudgedDetections) -> tuple[tuple[str, int], ...]:
    scored = source.row.categories.get(source.word(source.names[one.category]))
    if scored is None or scored.operating_score is None:
        return ()
    rows = (one.errors == CLASSIFICATION) & (one.scores >= scored.operating_score - _ROUNDED)
    taken = Counter(source.objects.categories[one.targets[rows]].tolist())
    ranked = sorted(taken.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple((source.word(source.names[number]), times) for number, times in ranked[:_CONFUSED_WITH])


@dataclass(frozen=True)
class Tally:
    """What became of one category's detections from each of some scores on.

    Attributes:
        right: int64 `[scores]` right ones.
        errors: int64 `[ERRORS, scores]` wrong ones by kind.
        objects: Objects to find.
    """

    right: Integers
    errors: Integers
    objects: int

    @property
    def missed(self) -> Integers:
        """Int64 `[scores]` objects that no detection finds."""
        return self.objects - self.right


def tally(one: JudgedDetections, objects: int, scores: Float64s) -> Tally:
    """Count a category's detections of at least each score. What became of one depends on better ones only."""

    def from_on(rows: NDArray[np.bool_]) -> Integers:
        own = np.sort(one.scores[rows])
        return len(own) - np.searchsorted(own, scores, side="left")

    right = from_on(one.outcomes == TRUE_POSITIVE)
    return Tally(right, np.stack([from_on(one.errors == kind) for kind in range(len(ERRORS))]), objects)
