"""What became of each detection of one image: right, wrong and in which way, and which objects were missed.

Right and wrong are VOC's (`sppnet.evaluation.voc`), so that a picture never contradicts the AP beside it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.artifacts.annotations import Box, ObjectAnnotation
from sppnet.arrays import Bools, Float64s
from sppnet.boxes import iou_matrix
from sppnet.evaluation.curves import IGNORED, TRUE_POSITIVE, Detections, GroundTruth
from sppnet.evaluation.voc import match_voc

LOCALISATION, DUPLICATE, CONFUSION, BACKGROUND = "localisation", "duplicate", "confusion", "background"
ERRORS = (LOCALISATION, DUPLICATE, CONFUSION, BACKGROUND)
"""The ways of being wrong, after Hoiem et al. (ECCV 2012)."""

_TOUCHES = 0.1  # Hoiem's threshold: below it a window shows no object worth naming


@dataclass(frozen=True, slots=True)
class Detection:
    """One detection: category, score, box in pixels of the original image."""

    category: str
    score: float
    box: Box


@dataclass(frozen=True, slots=True)
class Judged:
    """A detection and what became of it.

    Attributes:
        detection: The detection.
        right: Whether it is a true positive.
        error: One of `ERRORS` for a false positive; None if right or ignored.
        nearest: The object that it overlaps most, if any overlaps enough to name it.
        overlap: IoU with that object, 0..1.
    """

    detection: Detection
    right: bool
    error: str | None
    nearest: ObjectAnnotation | None
    overlap: float


@dataclass(frozen=True, slots=True)
class ImageMatch:
    """All of one image.

    Attributes:
        judged: The detections, lowest score first (the order in which to draw them).
        missed: Objects, none of them difficult, without a true positive.
    """

    judged: tuple[Judged, ...]
    missed: tuple[ObjectAnnotation, ...]

    @property
    def right(self) -> int:
        """How many detections are right."""
        return sum(entry.right for entry in self.judged)

    @property
    def wrong(self) -> int:
        """How many detections are wrong; those on difficult objects are neither."""
        return sum(entry.error is not None for entry in self.judged)


def above(detections: Sequence[Detection], operating: Mapping[str, float | None]) -> list[Detection]:
    """Keep the detections that reach their category's operating score; a category without one has none."""
    kept = []
    for detection in detections:
        threshold = operating.get(detection.category)
        if threshold is not None and detection.score >= threshold:
            kept.append(detection)
    return kept


def match_image(
    detections: Sequence[Detection],
    objects: Sequence[ObjectAnnotation],
    iou: float = 0.5,
    sought: Collection[str] | None = None,
) -> ImageMatch:
    """Judge the detections of one image.

    Args:
        detections: All that are to be shown, of any category.
        objects: All annotated objects of the image.
        iou: A detection is right from this overlap on.
        sought: Categories that the detector knows; objects of others are not missed. None for all.
    """
    ranked = sorted(detections, key=lambda entry: -entry.score)
    overlaps = iou_matrix([entry.box for entry in ranked], [entry.box for entry in objects])
    judged: dict[int, Judged] = {}
    found: set[int] = set()
    for category in dict.fromkeys(entry.category for entry in ranked):
        rows = [i for i, entry in enumerate(ranked) if entry.category == category]
        own = np.array([entry.category == category for entry in objects], dtype=bool)
        outcomes = _outcomes([ranked[i] for i in rows], [entry for entry in objects if entry.category == category], iou)
        for row, outcome in zip(rows, outcomes, strict=True):
            judged[row] = _judge(ranked[row], int(outcome), objects, overlaps[row], own, iou)
            if judged[row].right:
                found.add(int(np.argmax(np.where(own, overlaps[row], -1))))
    missed = [
        entry
        for i, entry in enumerate(objects)
        if i not in found and not entry.difficult and (sought is None or entry.category in sought)
    ]
    return ImageMatch(tuple(judged[row] for row in reversed(range(len(ranked)))), tuple(missed))


def _outcomes(detections: Sequence[Detection], objects: Sequence[ObjectAnnotation], iou: float) -> list[int]:
    truth = GroundTruth.of([0] * len(objects), [o.box for o in objects], [o.difficult for o in objects])
    found = Detections.of([0] * len(detections), [d.box for d in detections], [d.score for d in detections])
    return [int(outcome) for outcome in match_voc(truth, found, iou)]


def _judge(
    detection: Detection,
    outcome: int,
    objects: Sequence[ObjectAnnotation],
    overlaps: Float64s,
    own: Bools,
    iou: float,
) -> Judged:
    same, same_iou = _nearest(overlaps, own)
    if outcome in (TRUE_POSITIVE, IGNORED):
        return Judged(detection, outcome == TRUE_POSITIVE, None, objects[same], same_iou)
    if same_iou >= iou:
        return Judged(detection, False, DUPLICATE, objects[same], same_iou)
    other, other_iou = _nearest(overlaps, ~own)
    if max(same_iou, other_iou) < _TOUCHES:
        return Judged(detection, False, BACKGROUND, None, 0.0)
    if same_iou >= other_iou:
        return Judged(detection, False, LOCALISATION, objects[same], same_iou)
    return Judged(detection, False, CONFUSION, objects[other], other_iou)


def _nearest(
    overlaps: Float64s,
    mask: Bools,
) -> tuple[int, float]:
    """Find index and IoU of the most overlapped object of a mask; (-1, 0) if the mask is empty."""
    if not mask.any():
        return -1, 0.0
    best = int(np.argmax(np.where(mask, overlaps, -1)))
    return best, float(overlaps[best])
