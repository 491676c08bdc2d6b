"""The loop of non-maximum suppression in many categories, compiled.

A Python loop over 200 categories would cost more than scoring them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sppnet.compiling import compiled


@compiled()
def keep(boxes: Any, categories: Any, threshold: float, limit: int, kept: Any) -> None:
    """Mark the boxes that greedy suppression keeps within each category.

    A box is compared with the kept ones only, and a category that has its `limit` is passed over: the best few of
    thousands mostly decide.

    Args:
        boxes: float64 `[m, 4]` pixels, by category, within each by falling score.
        categories: int64 `[m]`, equal ones together.
        threshold: IoU above which a box is suppressed.
        limit: at most so many are kept of a category.
        kept: bool `[m]`, all False; True is written where a box is kept.
    """
    start, count = 0, 0
    chosen = np.empty(len(boxes), np.int64)
    for row in range(len(boxes)):
        if row == 0 or categories[row] != categories[row - 1]:
            start = count
        if count - start >= limit:
            continue
        x0, y0, x1, y1 = boxes[row]
        area = (x1 - x0) * (y1 - y0)
        clear = True
        for place in range(start, count):
            a0, b0, a1, b1 = boxes[chosen[place]]
            inter = max(0.0, min(x1, a1) - max(x0, a0)) * max(0.0, min(y1, b1) - max(y0, b0))
            # 0 / 0 is not a number, which is not greater: empty boxes suppress nothing.
            if inter / ((a1 - a0) * (b1 - b0) + area - inter) > threshold:
                clear = False
                break
        if clear:
            chosen[count] = row
            count += 1
            kept[row] = True
