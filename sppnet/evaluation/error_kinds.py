"""Why a detector is weak: the kinds of its errors, and the average precision that each costs.

The kinds and their costs are TIDE's (Bolya, Foley, Hays, Hoffman, "TIDE: A General Toolbox for Identifying Object
Detection Errors", ECCV 2020): what a kind costs is the average precision after its errors are mended, less that before.
Which detection is right is the protocol's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sppnet.arrays import Array, Bools, Float64s, Integers
from sppnet.evaluation.curves import (
    FALSE_POSITIVE,
    IGNORED,
    TRUE_POSITIVE,
    Detections,
    GroundTruth,
    Pairs,
    pair_up,
    rank,
)
from sppnet.evaluation.det import take_free_objects

CLASSIFICATION, LOCALISATION, BOTH, DUPLICATE, BACKGROUND = range(5)
ERRORS = ("classification", "localisation", "both", "duplicate", "background")
"""The kinds of false positives, in the order of their numbers."""
NO_ERROR = -1
TOUCHES = 0.1
"""TIDE's background threshold: a detection that overlaps no object so much shows background."""

AveragePrecision = Callable[[Integers, int], float]
"""Takes the right ones among the first 1, 2, ... detections, and the number of objects: see `curves.area_ap`."""


@dataclass(frozen=True)
class SplitObjects:
    """The objects of all categories in all images of a split.

    Attributes:
        objects: Their images and boxes; a difficult one is neither found nor missed.
        categories: int64 `[n]` number of each one's category.
        needed: float64 `[n]` overlap from which a detection finds it.
    """

    objects: GroundTruth
    categories: Integers
    needed: Float64s

    def counted(self, category: int) -> Bools:
        """Return which objects are to be found of a category, bool `[n]`."""
        found: Bools = (self.categories == category) & ~self.objects.difficult
        return found


@dataclass(frozen=True)
class JudgedDetections:
    """The detections of one category, and what became of each.

    Attributes:
        category: The category's number.
        detections: The detections.
        outcomes: int8 `[n]` TRUE_POSITIVE, FALSE_POSITIVE or IGNORED.
        errors: int8 `[n]` place in `ERRORS` of each false positive; NO_ERROR for the others.
        targets: int64 `[n]` object that a right detection found, that a misplaced or misnamed one would have found, or
            that a duplicate found again; -1 for the others.
    """

    category: int
    detections: Detections
    outcomes: NDArray[np.int8]
    errors: NDArray[np.int8]
    targets: Integers

    @property
    def scores(self) -> Float64s:
        """Their scores, float64 `[n]`."""
        return self.detections.scores


def judge_errors(
    truth: SplitObjects, category: int, detections: Detections, outcomes: NDArray[np.int8]
) -> JudgedDetections:
    """Tell the kind of each false positive of a category.

    In TIDE's order: one that touches (0.1) but does not find an object of its category is misplaced; one that would
    find an object of another category is misnamed; one whose object a better detection has is a duplicate; one that
    touches nothing is background; the others are both misplaced and misnamed. Difficult objects are not looked at.

    Args:
        truth: The objects of all categories.
        category: The category's number.
        detections: All detections of the category, in images of the same kind as the objects'.
        outcomes: int8 `[n]`, as the protocol has them.
    """
    pairs = pair_up(truth.objects, detections)
    pairs = pairs.select(~truth.objects.difficult[pairs.object])
    own = truth.categories[pairs.object] == category
    finds = pairs.iou >= truth.needed[pairs.object]
    same, same_iou = _best(pairs.select(own), len(detections))
    _, other_iou = _best(pairs.select(~own), len(detections))
    named, _ = _best(pairs.select(~own & finds), len(detections))
    again = (same >= 0) & (same_iou >= np.append(truth.needed, 0.0)[same])
    wrong = outcomes == FALSE_POSITIVE
    kinds = (
        (LOCALISATION, (same_iou >= TOUCHES) & ~again, same),
        (CLASSIFICATION, named >= 0, named),
        (DUPLICATE, again, same),
        (BACKGROUND, np.maximum(same_iou, other_iou) < TOUCHES, None),
        (BOTH, np.ones(len(detections), bool), None),
    )
    errors = np.full(len(detections), NO_ERROR, np.int8)
    targets = np.full(len(detections), -1, np.int64)
    for kind, holds, target in kinds:
        rows = wrong & (errors == NO_ERROR) & holds
        errors[rows] = kind
        if target is not None:
            targets[rows] = target[rows]
    right = own & finds & (outcomes[pairs.detection] == TRUE_POSITIVE)
    finders, found = take_free_objects(pairs.select(right), len(truth.objects))
    targets[finders] = found
    return JudgedDetections(category, detections, outcomes, errors, targets)


def _best(pairs: Pairs, count: int) -> tuple[Integers, Float64s]:
    """Return for each of `count` detections the object it overlaps most, the first among equals; -1 and 0: none."""
    objects, overlaps = np.full(count, -1, np.int64), np.zeros(count)
    order = np.lexsort((pairs.object, -pairs.iou, pairs.detection))
    first = order[np.diff(pairs.detection[order], prepend=-1) != 0]
    objects[pairs.detection[first]] = pairs.object[first]
    overlaps[pairs.detection[first]] = pairs.iou[first]
    return objects, overlaps


@dataclass(frozen=True)
class ErrorCosts:
    """What one category's errors cost.

    Attributes:
        ap: The average precision, 0..1; NaN without objects.
        costs: What the average precision would gain, by the kind of error; 0 without objects.
    """

    ap: float
    costs: Mapping[str, float]


@dataclass(frozen=True)
class _Mended:
    """False positives that find their object once mended: of each object that nobody found, the best-scored one.

    Attributes:
        errors: int8 `[n]` their kinds, misplaced or misnamed.
        categories: int64 `[n]` categories of their objects.
        scores: float64 `[n]`.
        usable: bool `[objects]` the objects.
    """

    errors: NDArray[np.int8]
    categories: Integers
    scores: Float64s
    usable: Bools


def _mend(judged: Sequence[JudgedDetections], truth: SplitObjects) -> _Mended:
    open_ = ~found_objects(judged, truth)
    rows = [np.flatnonzero(np.isin(one.errors, (LOCALISATION, CLASSIFICATION))) for one in judged]
    rows = [own[open_[one.targets[own]]] for own, one in zip(rows, judged, strict=True)]

    def column(take: Callable[[JudgedDetections, Integers], Array], dtype: type[np.generic]) -> Array:
        parts = [take(one, own) for one, own in zip(judged, rows, strict=True)]
        return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)

    targets = column(lambda one, own: one.targets[own], np.int64)
    scores = column(lambda one, own: one.scores[own], np.float64)
    order = np.lexsort((-scores, targets))
    best = order[np.diff(targets[order], prepend=-1) != 0]
    usable = np.zeros(len(truth.objects), bool)
    usable[targets] = True
    return _Mended(
        errors=column(lambda one, own: one.errors[own], np.int8)[best],
        categories=truth.categories[targets[best]],
        scores=scores[best],
        usable=usable,
    )


def found_objects(judged: Sequence[JudgedDetections], truth: SplitObjects) -> Bools:
    """Return which objects some detection found, bool `[objects]`."""
    found = np.zeros(len(truth.objects), bool)
    for one in judged:
        found[one.targets[(one.outcomes == TRUE_POSITIVE) & (one.targets >= 0)]] = True
    return found


def missed_objects(judged: Sequence[JudgedDetections], truth: SplitObjects) -> Bools:
    """Return TIDE's missed objects, bool `[objects]`: those that no detection found, nor would find once mended."""
    missed: Bools = ~found_objects(judged, truth) & ~_mend(judged, truth).usable & ~truth.objects.difficult
    return missed


def error_costs(
    judged: Sequence[JudgedDetections],
    truth: SplitObjects,
    average_precision: AveragePrecision,
    missed: Mapping[str, Bools],
) -> list[ErrorCosts]:
    """Return what each kind of error costs each category.

    Mending takes a misplaced or misnamed detection for right, in its object's category and at its own score, if it is
    the best-scored of its object and nobody found that; any other false positive goes; a missed object is no longer
    sought. Where nothing is left to seek, the average precision counts as 1 (TIDE has 0 there).

    Args:
        judged: All categories' detections.
        truth: The objects of all categories.
        average_precision: The protocol's.
        missed: bool `[objects]` by name: parts of `missed_objects` whose costs are asked for.

    Returns:
        One for each of `judged`, with the costs of `ERRORS` and of `missed`.
    """
    mended = _mend(judged, truth)
    return [_costs(one, truth, mended, average_precision, missed) for one in judged]


def _costs(
    one: JudgedDetections,
    truth: SplitObjects,
    mended: _Mended,
    average_precision: AveragePrecision,
    missed: Mapping[str, Bools],
) -> ErrorCosts:
    counted = truth.counted(one.category)
    positives = int(np.count_nonzero(counted))
    if not positives:
        return ErrorCosts(float("nan"), dict.fromkeys((*ERRORS, *missed), 0.0))
    right = one.outcomes == TRUE_POSITIVE
    judged = one.outcomes != IGNORED
    hits = _hits(one.scores[judged], right[judged])
    before = average_precision(hits, positives)
    costs = {}
    for kind, name in enumerate(ERRORS):
        come = (mended.errors == kind) & (mended.categories == one.category)
        stay = judged & (one.errors != kind)
        scores = np.concatenate([one.scores[stay], mended.scores[come]])
        after = _hits(scores, np.concatenate([right[stay], np.ones(np.count_nonzero(come), bool)]))
        costs[name] = max(0.0, average_precision(after, positives) - before)
    for name, objects in missed.items():
        left = positives - int(np.count_nonzero(objects & counted))
        costs[name] = (average_precision(hits, left) if left else 1.0) - before
    return ErrorCosts(before, costs)


def _hits(scores: Float64s, right: Bools) -> Integers:
    """Return the right ones among the first 1, 2, ... by falling score."""
    hits: Integers = np.cumsum(right[rank(scores)], dtype=np.int64)
    return hits
