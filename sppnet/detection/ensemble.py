"""Detections of one image from one detector or several: union of the scored windows, then suppression (section 4.4).

The paper combines two models by "non-maximum suppression on the union of the two sets of candidate windows with
their scores". The suppression must see every scored window of every model: one that a model's own suppression would
have hidden can win once the union has removed the window that hid it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sppnet.boxes import nms
from sppnet.errors import DataError

_LOOKED_AT = 4
"""Windows that suppression looks at first, as a multiple of those wanted."""


@dataclass(frozen=True)
class ScoredWindows:
    """The windows of one image with one detector's scores, which are compared with other detectors' as they are.

    Attributes:
        windows: float32 `[n, 4]` pixels.
        scores: float32 `[n, K]`, the categories in one order for all detectors.
    """

    windows: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.scores.ndim != 2 or self.windows.shape != (len(self.scores), 4):
            raise DataError("bad-scores", f"windows {list(self.windows.shape)}, scores {list(self.scores.shape)}")
        if not np.isfinite(self.scores).all():
            raise DataError("nan-features", "a window's score is not finite")


@dataclass(frozen=True)
class Chosen:
    """The detections of one image, category by category, by falling score.

    Attributes:
        category: int32 `[m]`.
        detector: int32 `[m]`, whose window it is.
        window: int32 `[m]`, among that detector's windows.
        scores: float32 `[m]`.
    """

    category: NDArray[np.int32]
    detector: NDArray[np.int32]
    window: NDArray[np.int32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.category)


def choose_windows(found: Sequence[ScoredWindows], threshold: float, nms_iou: float, per_image: int) -> Chosen:
    """Suppresses the union of several detectors' windows, category by category.

    Args:
        found: one entry a detector; of equal scores the earlier detector's window comes first.
        threshold: windows whose score is not above it are dropped.
        nms_iou: a window that overlaps a better one by more goes.
        per_image: at most so many windows a category stay, the best.

    Raises:
        DataError: `bad-scores` if the detectors have different numbers of categories.
    """
    widths = {entry.scores.shape[1] for entry in found}
    if len(widths) != 1:
        raise DataError("bad-scores", f"detectors score different numbers of categories: {sorted(widths)}")
    windows = np.concatenate([entry.windows for entry in found])
    scores = np.concatenate([entry.scores for entry in found])
    sizes = [len(entry.windows) for entry in found]
    detector = np.repeat(np.arange(len(found), dtype=np.int32), sizes)
    place = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])
    rows = []
    for column in scores.T:
        above = np.flatnonzero(column > threshold)
        rows.append(above[best_windows(windows[above], column[above], nms_iou, per_image)])
    kept = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    category = np.repeat(np.arange(len(rows), dtype=np.int32), [len(own) for own in rows])
    return Chosen(category, detector[kept], place[kept], scores[kept, category])


def best_windows(
    windows: NDArray[np.float32], scores: NDArray[np.float32], nms_iou: float, limit: int
) -> NDArray[np.int64]:
    """The first `limit` windows that greedy suppression keeps, by falling score.

    Only better windows suppress, so that the best few hundred of thousands of windows mostly decide; more are
    looked at until `limit` are kept or none is left.

    Args:
        windows: `[n, 4]` pixels.
        scores: `[n]`; among equal scores the lower index comes first.
        nms_iou: overlap above which a window is suppressed.
        limit: windows wanted.
    """
    order = np.argsort(-scores, kind="stable")
    looked_at = _LOOKED_AT * limit
    while True:
        head = order[:looked_at]
        kept = head[nms(windows[head], scores[head], nms_iou)]
        if len(kept) >= limit or looked_at >= len(order):
            return kept[:limit]
        looked_at *= _LOOKED_AT
