"""The false positives of the highest scores, and the objects that they are about."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from jobs.report.read.analysis import Analysis
from pipelines.artifacts.annotations import Box
from sppnet.arrays import Float64s
from sppnet.boxes import iou_matrix
from sppnet.evaluation.curves import FALSE_POSITIVE
from sppnet.evaluation.error_kinds import ERRORS, TOUCHES


@dataclass(frozen=True, slots=True)
class FalsePositive:
    """A detection that is wrong.

    Attributes:
        place: The image's place among the split's keys.
        category: What the window was taken for.
        score: The detector's score.
        box: Pixels of the original image.
        kind: One of `ERRORS`.
        truth: Category of the object that it is about, or overlaps most; None if it overlaps none by 0.1.
        truth_box: That object, likewise.
        overlap: IoU with it, 0..1.
    """

    place: int
    category: str
    score: float
    box: Box
    kind: str
    truth: str | None
    truth_box: Box | None
    overlap: float


def worst_failures(analysis: Analysis, among: Collection[int], at_most: int) -> list[FalsePositive]:
    """Find the false positives of the highest scores, from the operating scores on.

    Args:
        analysis: All detections.
        among: Places of the images to look at.
        at_most: How many; of a category a few, and of an image one of each category.
    """
    source = analysis.source
    per_category = max(2, -(-at_most // max(1, len(analysis.judged))))
    found: list[tuple[int, int, int]] = []
    for one in analysis.judged:
        rows = np.flatnonzero((one.outcomes == FALSE_POSITIVE) & (one.scores >= analysis.operating[one.category]))
        taken: dict[int, int] = {}
        for row in rows[np.lexsort((one.detections.images[rows], -one.scores[rows]))]:
            place = int(source.places[int(one.detections.images[row])])
            if place in among and len(taken) < per_category:
                taken.setdefault(place, int(row))
        found += [(place, one.category, row) for place, row in taken.items()]
    found.sort(key=lambda entry: (-analysis.judged[entry[1]].scores[entry[2]], source.keys[entry[0]]))
    return [_failure(analysis, *entry) for entry in found[:at_most]]


def _failure(analysis: Analysis, place: int, category: int, row: int) -> FalsePositive:
    source, one = analysis.source, analysis.judged[category]
    objects, box = source.objects.objects, one.detections.boxes[row]
    own = np.flatnonzero(objects.images == one.detections.images[row])
    overlaps = iou_matrix(box[None], objects.boxes[own])[0]
    truth, truth_box, overlap = None, None, 0.0
    if len(own) and overlaps.max() >= TOUCHES:
        target = int(one.targets[row]) if one.targets[row] >= 0 else int(own[overlaps.argmax()])
        overlap = float(overlaps[np.flatnonzero(own == target)[0]])
        truth = source.word(source.names[source.objects.categories[target]])
        truth_box = _box(objects.boxes[target])
    kind = ERRORS[one.errors[row]]
    score = float(one.scores[row])
    return FalsePositive(place, source.word(source.names[category]), score, _box(box), kind, truth, truth_box, overlap)


def _box(values: Float64s) -> Box:
    x0, y0, x1, y1 = map(float, values)
    return x0, y0, x1, y1
