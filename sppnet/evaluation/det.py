"""The ILSVRC DET protocol: easier thresholds for small objects, each detection takes a free object."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sppnet.arrays import Array, Bools, Float64s, Integers
from sppnet.evaluation.curves import (
    FALSE_POSITIVE,
    IGNORED,
    TRUE_POSITIVE,
    CategoryResult,
    Detections,
    GroundTruth,
    Pairs,
    pair_up,
    summarise,
)


def det_thresholds(boxes: ArrayLike) -> Float64s:
    """Return the overlap that a detection of each object needs: `min(0.5, w h / ((w + 10) (h + 10)))`.

    Args:
        boxes: `[n, 4]` pixels.

    Returns:
        float64 `[n]`; below 0.5 for objects smaller than about 25 x 25 pixels.
    """
    array = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    width, height = array[:, 2] - array[:, 0], array[:, 3] - array[:, 1]
    return np.minimum(0.5, width * height / ((width + 10.0) * (height + 10.0)))


def evaluate_det(
    ground_truth: GroundTruth,
    detections: Detections,
    blacklist: Collection[str] | Collection[int] | Array = (),
) -> CategoryResult:
    """Evaluate one category by ILSVRC DET's rule; its AP is `area_ap`.

    Args:
        ground_truth: all objects of the category; DET knows no difficult ones, the flag is not looked at.
        detections: all detections of the category.
        blacklist: images in which this category is not judged: their detections are ignored and their
            objects are not positives.
    """
    outcomes = match_det(ground_truth, detections, blacklist)
    counted = ~_listed(ground_truth.images, blacklist)
    return summarise(detections.scores, outcomes, int(np.count_nonzero(counted)))


def match_det(
    ground_truth: GroundTruth,
    detections: Detections,
    blacklist: Collection[str] | Collection[int] | Array = (),
) -> NDArray[np.int8]:
    """Tell what becomes of each detection under DET's rule.

    In each image, by falling score, a detection takes the object it overlaps most among those that are still
    free and that it overlaps by their threshold or more. One that finds none is wrong.

    Args:
        ground_truth: all objects of the category.
        detections: all detections of the category.
        blacklist: images in which the category is not judged.

    Returns:
        int8 `[detections]`: TRUE_POSITIVE, FALSE_POSITIVE or IGNORED.
    """
    outcomes = np.full(len(detections), FALSE_POSITIVE, dtype=np.int8)
    outcomes[_listed(detections.images, blacklist)] = IGNORED
    judged = ground_truth.select(~_listed(ground_truth.images, blacklist))
    pairs = pair_up(judged, detections)
    pairs = pairs.select(pairs.iou >= det_thresholds(judged.boxes)[pairs.object])
    outcomes[take_free_objects(pairs, len(judged))[0]] = TRUE_POSITIVE
    return outcomes


def take_free_objects(pairs: Pairs, objects: int) -> tuple[Integers, Integers]:
    """Return the detections that get an object, and the objects, given the pairs that overlap enough.

    Images don't influence each other, so each round settles the first open detection of every image at once;
    there are as many rounds as the fullest image has objects found.
    """
    pairs = pairs.select(np.lexsort((pairs.object, -pairs.iou, pairs.rank, pairs.image)))
    taken = np.zeros(objects, dtype=bool)
    winners: list[Pairs] = []
    while len(pairs.iou):
        # First row of an image: its best-scored open detection with the object that it overlaps most.
        first = np.diff(pairs.image, prepend=-1) != 0
        taken[pairs.object[first]] = True
        winners.append(pairs.select(first))
        settled = np.repeat(pairs.rank[first], np.diff(np.flatnonzero(first), append=len(first)))
        pairs = pairs.select((pairs.rank != settled) & ~taken[pairs.object])
    none = np.zeros(0, dtype=np.int64)
    return (
        np.concatenate([none, *(won.detection for won in winners)]),
        np.concatenate([none, *(won.object for won in winners)]),
    )


def _listed(images: Array, blacklist: Collection[str] | Collection[int] | Array) -> Bools:
    if len(blacklist) == 0:
        return np.zeros(len(images), dtype=bool)
    return np.isin(images, np.asarray(list(blacklist)))
