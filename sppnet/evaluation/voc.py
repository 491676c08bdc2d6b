"""The PASCAL VOC protocol: a detection belongs to the object it overlaps most (VOCdevkit, VOCevaldet)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sppnet.evaluation.curves import (
    FALSE_POSITIVE,
    IGNORED,
    TRUE_POSITIVE,
    CategoryResult,
    Detections,
    GroundTruth,
    pair_up,
    summarise,
)


def evaluate_voc(ground_truth: GroundTruth, detections: Detections, iou: float = 0.5) -> CategoryResult:
    """Evaluate one category by VOC's rule; 2007's AP and the area AP of 2010 on come together.

    Args:
        ground_truth: all objects of the category, difficult ones included (they are neither found nor missed).
        detections: all detections of the category.
        iou: a detection is right from this overlap on.
    """
    outcomes = match_voc(ground_truth, detections, iou)
    return summarise(detections.scores, outcomes, int(np.count_nonzero(~ground_truth.difficult)))


def match_voc(ground_truth: GroundTruth, detections: Detections, iou: float = 0.5) -> NDArray[np.int8]:
    """Tell what becomes of each detection under VOC's rule.

    A detection is compared with the object of its image that it overlaps most (the first among equals),
    difficult and already found ones included. Below `iou` it is wrong; on a difficult object it is ignored;
    otherwise the best-scored detection of an object is right and all others are wrong.

    Args:
        ground_truth: all objects of the category.
        detections: all detections of the category.
        iou: a detection is right from this overlap on.

    Returns:
        int8 `[detections]`: TRUE_POSITIVE, FALSE_POSITIVE or IGNORED.
    """
    outcomes = np.full(len(detections), FALSE_POSITIVE, dtype=np.int8)
    pairs = pair_up(ground_truth, detections)
    if len(pairs.iou) == 0:
        return outcomes
    # Per detection the largest overlap; among equal ones the first object (VOC: strictly greater wins).
    best_first = np.lexsort((pairs.object, -pairs.iou, pairs.rank))
    ranked = pairs.select(best_first)
    best = ranked.select(np.diff(ranked.rank, prepend=-1) != 0)
    best = best.select(best.iou >= iou)

    difficult = ground_truth.difficult[best.object]
    outcomes[best.detection[difficult]] = IGNORED
    # The pairs are by rank, so that the first of an object is its best-scored detection.
    hits = best.select(~difficult)
    _, first = np.unique(hits.object, return_index=True)
    outcomes[hits.detection[first]] = TRUE_POSITIVE
    return outcomes
