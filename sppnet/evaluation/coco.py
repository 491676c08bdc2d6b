"""COCO's protocol: average precision and recall over ten overlaps, by size of object and number of detections.

The figures are pycocotools'. Objects are matched for all images, overlaps and sizes at once: a step settles the next
detection of every image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sppnet.arrays import Array, Bools, Float64s, Integers
from sppnet.boxes import box_areas
from sppnet.errors import DataError
from sppnet.evaluation.curves import (
    FALSE_POSITIVE,
    IGNORED,
    TRUE_POSITIVE,
    CategoryResult,
    Detections,
    GroundTruth,
    pair_up,
    rank,
    summarise,
)

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST = 100
"""Detections of an image and category that are looked at."""

SIZES: Mapping[str, tuple[float, float]] = {
    "": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""Object areas in square pixels, both ends included."""

FIGURES = (
    *("AP", "AP50", "AP75", "APsmall", "APmedium", "APlarge"),
    *("AR1", "AR10", "AR100", "ARsmall", "ARmedium", "ARlarge"),
)
"""COCO's twelve: `AP` is the mean over overlaps 0.5 to 0.95, `AR10` the recall with ten detections an image."""

_LOW, _HIGH = (np.array(ends) for ends in zip(*SIZES.values(), strict=True))
_LIMITS = np.minimum(OVERLAPS, 1.0 - 1e-10)  # so that equal boxes match at any overlap, as pycocotools has it


@dataclass(frozen=True)
class CocoObjects:
    """The objects of one category in all images.

    Attributes:
        objects: their images and boxes. A difficult one is ignored: neither found nor missed.
        areas: float64 `[n]` square pixels; COCO's are those of the outlines, not of the boxes.
        crowd: bool `[n]`: a region with many objects, in which no detection is wrong.
    """

    objects: GroundTruth
    areas: Float64s
    crowd: Bools

    @classmethod
    def of(cls, objects: GroundTruth, areas: ArrayLike | None = None, crowd: ArrayLike | None = None) -> Self:
        """Build from objects; without `areas` those of the boxes, without `crowd` none is."""
        sizes = box_areas(objects.boxes) if areas is None else np.asarray(areas, np.float64).reshape(-1)
        flags = np.zeros(len(objects), bool) if crowd is None else np.asarray(crowd, bool).reshape(-1)
        if not len(sizes) == len(flags) == len(objects):
            raise DataError("bad-columns", f"{len(objects)} objects, {len(sizes)} areas, {len(flags)} crowd flags")
        return cls(objects, sizes, flags)

    @property
    def aside(self) -> Bools:
        """Bool `[sizes, n]`: which don't count as objects of each size."""
        other = (self.areas < _LOW[:, None]) | (self.areas > _HIGH[:, None])
        ignored: Bools = other | self.crowd | self.objects.difficult
        return ignored


@dataclass(frozen=True)
class CocoResult:
    """How well one category is detected.

    Attributes:
        figures: the `FIGURES` by name, 0..1; NaN where the category has no objects of that size.
        half: the curve at overlap 0.5, of objects of all sizes.
    """

    figures: Mapping[str, float]
    half: CategoryResult


def evaluate_coco(truth: CocoObjects, detections: Detections) -> CocoResult:
    """Evaluate one category by COCO's rule.

    Args:
        truth: all objects of the category. Of equal scores in two images that of the lower one (by number, or by
            name) ranks first.
        detections: all detections of the category, in images of the same kind.
    """
    found, place = _best_of_images(detections)
    right, ignored = _match(truth, found, place)
    positives = np.count_nonzero(~truth.aside, axis=1)
    order = rank(found.scores)
    precision = _precision(right[..., order], ignored[..., order], positives)
    recall = {most: _recall(right[..., place < most], positives) for most in (1, 10, MOST)}
    values = (
        *(precision[0].mean(), precision[0, 0], precision[0, 5], *precision[1:].mean(axis=1)),
        *(recall[1][0], recall[10][0], *recall[MOST]),
    )
    outcomes = np.where(right[0, 0], TRUE_POSITIVE, np.where(ignored[0, 0], IGNORED, FALSE_POSITIVE)).astype(np.int8)
    half = summarise(found.scores, outcomes, int(positives[0]))
    return CocoResult(dict(zip(FIGURES, map(float, values), strict=True)), half)


def mean_figures(results: Iterable[CocoResult]) -> dict[str, float]:
    """Return the means of the `FIGURES` over the categories that have them; NaN where none has."""
    rows = np.array([[result.figures[name] for name in FIGURES] for result in results]).reshape(-1, len(FIGURES))
    known = ~np.isnan(rows)
    count = np.count_nonzero(known, axis=0)
    total = np.where(known, rows, 0.0).sum(axis=0)
    means = np.divide(total, count, out=np.full(len(FIGURES), np.nan), where=count > 0)
    return dict(zip(FIGURES, means.tolist(), strict=True))


def _best_of_images(detections: Detections) -> tuple[Detections, Integers]:
    """Return the best `MOST` of each image, by image and falling score, and their places in their images, from 0."""
    _, codes = np.unique(detections.images, return_inverse=True)
    order = np.lexsort((-detections.scores, codes))  # stable: among equal scores the earlier row
    image = codes[order]
    first = np.diff(image, prepend=-1) != 0
    place = np.arange(len(image)) - np.maximum.accumulate(np.where(first, np.arange(len(image)), 0))
    kept = place < MOST
    return detections.select(order[kept]), place[kept]


def _match(truth: CocoObjects, found: Detections, place: Integers) -> tuple[Bools, Bools]:
    """Tell which detections are right and which are ignored, bool `[sizes, overlaps, n]` each.

    By falling score a detection takes the free object that it overlaps most (the last among equals), one that
    counts before one that doesn't; a crowd is never used up. One that takes an object that doesn't count is ignored,
    as is one that takes none and is of another size.
    """
    shape = (len(SIZES), len(OVERLAPS), len(found))
    right, ignored = np.zeros(shape, bool), np.zeros(shape, bool)
    detection, thing, iou = _touching(truth, found)
    aside = truth.aside
    free = np.ones((len(SIZES), len(OVERLAPS), len(truth.objects)), bool)
    for rows in _steps(place[detection]):
        hits = _take(detection[rows], thing[rows], iou[rows], free, aside)
        size, level, row, taken = hits
        counted = ~aside[size, taken]
        right[size[counted], level[counted], row[counted]] = True
        ignored[size[~counted], level[~counted], row[~counted]] = True
        once = ~truth.crowd[taken]
        free[size[once], level[once], taken[once]] = False
    area = box_areas(found.boxes)
    other = (area < _LOW[:, None]) | (area > _HIGH[:, None])
    ignored |= ~right & other[:, None]
    return right, ignored


def _touching(truth: CocoObjects, found: Detections) -> tuple[Integers, Integers, Float64s]:
    """Pair detections with the objects of their images that they overlap enough; the best pair of each comes last.

    The overlap with a crowd is the part of the detection that lies in it.
    """
    pairs = pair_up(truth.objects, found)
    iou, crowd = pairs.iou, truth.crowd[pairs.object]
    if crowd.any():
        boxes, regions = found.boxes[pairs.detection[crowd]], truth.objects.boxes[pairs.object[crowd]]
        sides = np.minimum(boxes[:, 2:], regions[:, 2:]) - np.maximum(boxes[:, :2], regions[:, :2])
        inside = np.maximum(sides, 0.0).prod(axis=1)
        iou = iou.copy()
        iou[crowd] = inside / np.maximum(box_areas(boxes), 1e-12)
    near = np.flatnonzero(iou >= _LIMITS[0])
    rows = near[np.lexsort((pairs.object[near], iou[near], pairs.detection[near]))]
    return pairs.detection[rows], pairs.object[rows], iou[rows]


def _steps(place: Integers) -> list[Integers]:
    """Group pairs by their detections' places: no two detections of an image are in one group."""
    order = np.argsort(place, kind="stable")
    ends = np.flatnonzero(np.diff(place[order])) + 1
    return np.split(order, ends) if len(order) else []


def _take(
    detection: Integers, thing: Integers, iou: Float64s, free: Bools, aside: Bools
) -> tuple[Array, Array, Array, Array]:
    """Let detections of different images take objects: the size, overlap, detection and object of each that is taken.

    Args:
        detection: int64 `[pairs]`, those of one detection together.
        thing: int64 `[pairs]` their objects.
        iou: float64 `[pairs]`, rising within a detection.
        free: bool `[sizes, overlaps, objects]`.
        aside: bool `[sizes, objects]`.
    """
    starts = np.flatnonzero(np.diff(detection, prepend=-1) != 0)
    count = len(detection)
    can = free[:, :, thing] & (iou >= _LIMITS[:, None])
    # Later pairs are better, and any that counts is better than all that don't.
    worth = np.arange(count) + np.where(aside[:, thing], 0, count)[:, None]
    best = np.maximum.reduceat(np.where(can, worth, -1), starts, axis=2)
    size, level, column = np.nonzero(best >= 0)
    pair = best[size, level, column] % count
    return size, level, detection[pair], thing[pair]


def _precision(right: Bools, ignored: Bools, positives: NDArray[np.int64]) -> Float64s:
    """Average the best precision at 101 recalls or above, `[sizes, overlaps]`; NaN without objects.

    Args:
        right: bool `[sizes, overlaps, n]`, by falling score.
        ignored: likewise.
        positives: int64 `[sizes]` objects that count.
    """
    result = np.full(right.shape[:2], np.nan)
    for size, level in np.ndindex(*result.shape):
        if positives[size] == 0:
            continue
        judged = ~ignored[size, level]
        own = right[size, level, judged]
        ends = np.flatnonzero(own)  # between two right detections the precision only falls
        hits = np.arange(1, len(ends) + 1)
        best = np.maximum.accumulate((hits / (ends + 1.0))[::-1])[::-1]
        place = np.searchsorted(hits / positives[size], RECALLS, side="left")
        result[size, level] = np.append(best, 0.0)[np.minimum(place, len(best))].mean()
    return result


def _recall(right: Bools, positives: NDArray[np.int64]) -> Float64s:
    """Return the recall, averaged over the overlaps, `[sizes]`; NaN without objects."""
    found = right.sum(axis=2) / np.maximum(positives, 1)[:, None]
    mean: Float64s = np.where(positives > 0, found.mean(axis=1), np.nan)
    return mean
