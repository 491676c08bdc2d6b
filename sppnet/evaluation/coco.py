"""COCO's protocol: average precision and recall over ten overlaps, by size of object and number of detections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from sppnet.arrays import Bools, Float64s
from sppnet.boxes import box_areas, intersection_matrix, iou_matrix
from sppnet.errors import DataError
from sppnet.evaluation.curves import Detections, GroundTruth

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


@dataclass(frozen=True)
class CocoObjects:
    """The objects of one category in all images.

    Attributes:
        objects: their images and boxes.
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


@dataclass(frozen=True)
class _Matched:
    """One image's detections of a category, by falling score, at each overlap and for one size.

    Attributes:
        scores: `[d]`.
        right: bool `[overlaps, d]`.
        ignored: bool `[overlaps, d]`.
        positives: objects that count.
    """

    scores: Float64s
    right: Bools
    ignored: Bools
    positives: int


def evaluate_coco(truth: Mapping[str, CocoObjects], detections: Mapping[str, Detections]) -> dict[str, float]:
    """Return COCO's twelve figures; NaN where no category has objects of that size.

    Args:
        truth: the objects by category.
        detections: the detections by category; those of categories without objects don't count.

    Returns:
        `AP` (mean over overlaps 0.5 to 0.95), `AP50`, `AP75`, `APsmall`, `APmedium`, `APlarge`, `AR1`, `AR10`,
        `AR100` (recall with so many detections an image), `ARsmall`, `ARmedium`, `ARlarge`.
    """
    none = Detections.of(np.zeros(0, np.int64), [], [])
    found = {size: [] for size in SIZES}  # type: dict[str, list[list[_Matched]]]
    for category, objects in truth.items():
        by_size = _match_category(objects, detections.get(category, none))
        for size, images in by_size.items():
            found[size].append(images)
    precision = {size: np.array([_precision(images) for images in rows]) for size, rows in found.items()}
    recall = {size: np.array([_recall(images, MOST) for images in rows]) for size, rows in found.items()}
    figures = {
        "AP": _mean(precision[""]),
        "AP50": _mean(precision[""][:, 0] if len(precision[""]) else precision[""]),
        "AP75": _mean(precision[""][:, 5] if len(precision[""]) else precision[""]),
        **{f"AP{size}": _mean(precision[size]) for size in SIZES if size},
        **{f"AR{most}": _mean(np.array([_recall(images, most) for images in found[""]])) for most in (1, 10)},
        f"AR{MOST}": _mean(recall[""]),
        **{f"AR{size}": _mean(recall[size]) for size in SIZES if size},
    }
    return {name: float(value) for name, value in figures.items()}


def _mean(values: Float64s) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _match_category(truth: CocoObjects, found: Detections) -> dict[str, list[_Matched]]:
    """Match the detections of every image that has some, or objects, by size."""
    rows_of: dict[Any, tuple[list[int], list[int]]] = {}
    for place, images in enumerate((truth.objects.images, found.images)):
        for row, image in enumerate(images.tolist()):
            rows_of.setdefault(image, ([], []))[place].append(row)
    matched: dict[str, list[_Matched]] = {size: [] for size in SIZES}
    for _, (objects, rows) in sorted(rows_of.items()):  # among equal scores the lower image ranks first
        ranked = np.array(rows, np.int64)[np.argsort(-found.scores[rows], kind="stable")][:MOST]
        boxes = found.boxes[ranked]
        crowd = truth.crowd[objects]
        iou = _overlaps(boxes, truth.objects.boxes[objects], crowd)
        for size, (low, high) in SIZES.items():
            areas = truth.areas[objects]
            aside = crowd | (areas < low) | (areas > high)
            right, ignored = _take(iou, aside, crowd)
            own = box_areas(boxes)
            ignored |= ~right & ((own < low) | (own > high))  # an unmatched detection of another size
            count = int(np.count_nonzero(~aside))
            matched[size].append(_Matched(found.scores[ranked], right & ~ignored, ignored, count))
    return matched


def _overlaps(boxes: Float64s, objects: Float64s, crowd: Bools) -> Float64s:
    """Return the IoU `[d, n]`; with a crowd's region the part of the detection that lies in it."""
    iou = iou_matrix(boxes, objects)
    if crowd.any():
        inside = intersection_matrix(boxes, objects[crowd])
        iou[:, crowd] = inside / np.maximum(box_areas(boxes), 1e-12)[:, None]
    return iou


def _take(iou: Float64s, aside: Bools, crowd: Bools) -> tuple[Bools, Bools]:
    """Tell which detections get an object at each overlap, and which of those get one that does not count.

    By falling score a detection takes the free object that it overlaps most (the last among equals), one that
    counts before one that doesn't; a crowd is never used up.
    """
    limits = np.minimum(OVERLAPS, 1.0 - 1e-10)[:, None]
    levels, count = np.arange(len(OVERLAPS)), iou.shape[1]
    free = np.ones((len(OVERLAPS), count), dtype=bool)
    right = np.zeros((len(OVERLAPS), len(iou)), dtype=bool)
    ignored = np.zeros_like(right)
    if count == 0:
        return right, ignored
    for row, overlap in enumerate(iou):
        open_ones = free & (overlap[None] >= limits)
        counted = open_ones & ~aside
        chosen = np.where(counted.any(axis=1, keepdims=True), counted, open_ones)
        best = count - 1 - np.where(chosen, overlap[None], -1.0)[:, ::-1].argmax(axis=1)
        hit = chosen.any(axis=1)
        right[:, row] = hit
        ignored[:, row] = hit & aside[best]
        used = hit & ~crowd[best]
        free[levels[used], best[used]] = False
    return right, ignored


def _ranked(images: list[_Matched], most: int) -> tuple[Bools, Bools, int]:
    """Join all images: right and ignored `[overlaps, d]` by falling score, and the objects that count."""
    order = np.argsort(-np.concatenate([one.scores[:most] for one in images]), kind="stable")
    right = np.concatenate([one.right[:, :most] for one in images], axis=1)[:, order]
    ignored = np.concatenate([one.ignored[:, :most] for one in images], axis=1)[:, order]
    return right, ignored, sum(one.positives for one in images)


def _precision(images: list[_Matched]) -> Float64s:
    """Average the best precision at 101 recalls or above, by overlap; NaN without objects."""
    result = np.full(len(OVERLAPS), np.nan)
    if not images or sum(one.positives for one in images) == 0:
        return result
    right, ignored, positives = _ranked(images, MOST)
    for level in range(len(OVERLAPS)):
        hits = np.cumsum(right[level])
        wrong = np.cumsum(~right[level] & ~ignored[level])
        precision = hits / np.maximum(hits + wrong, np.spacing(1.0))
        best = np.maximum.accumulate(precision[::-1])[::-1]
        place = np.searchsorted(hits / positives, RECALLS, side="left")
        result[level] = np.append(best, 0.0)[np.minimum(place, len(best))].mean()
    return result


def _recall(images: list[_Matched], most: int) -> Float64s:
    """Return the recall with at most so many detections an image, by overlap; NaN without objects."""
    if not images or sum(one.positives for one in images) == 0:
        return np.full(len(OVERLAPS), np.nan)
    right, _, positives = _ranked(images, most)
    found: Float64s = right.sum(axis=1) / positives
    return found
