"""Average precision by the size of objects: COCO's sizes, any protocol's rule for what is right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sppnet.boxes import box_areas
from sppnet.evaluation.coco import SIZES
from sppnet.evaluation.curves import FALSE_POSITIVE, TRUE_POSITIVE, rank
from sppnet.evaluation.error_kinds import AveragePrecision, JudgedDetections, SplitObjects


def size_aps(one: JudgedDetections, truth: SplitObjects, average_precision: AveragePrecision) -> Mapping[str, float]:
    """Return a category's average precision on small, medium and large objects.

    Detections are matched once, for all sizes. One that found an object of another size is left aside, as is a false
    positive whose own box is of another size (COCO's rule).

    Args:
        one: The category's detections.
        truth: The objects of all categories; their sizes are those of their boxes.
        average_precision: The protocol's.

    Returns:
        By size, 0..1; NaN where no object is of that size.
    """
    objects, boxes = box_areas(truth.objects.boxes), box_areas(one.detections.boxes)
    areas = np.where(one.outcomes == TRUE_POSITIVE, np.append(objects, np.nan)[one.targets], boxes)
    found = {}
    for name, (low, high) in SIZES.items():
        if name:
            positives = int(np.count_nonzero(truth.counted(one.category) & (objects >= low) & (objects <= high)))
            judged = np.isin(one.outcomes, (TRUE_POSITIVE, FALSE_POSITIVE)) & (areas >= low) & (areas <= high)
            right = one.outcomes[judged] == TRUE_POSITIVE
            found[name] = average_precision(np.cumsum(right[rank(one.scores[judged])], dtype=np.int64), positives)
    return found
