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

from sppnet.arrays import Float32s
from sppnet.boxes import nms_by_category
from sppnet.errors import DataError


@dataclass(frozen=True)
class Rules:
    """How the windows of an image become detections.

    Attributes:
        threshold: Scores that are not above it are dropped (-1.5 in the authors' release); None drops none, as R-CNN's
            own code does.
        nms_iou: Of two detections of a category that overlap more, the lower is suppressed.
        per_image: At most so many detections an image and category.
    """

    threshold: float | None = -1.5
    nms_iou: float = 0.3
    per_image: int = 100

    @property
    def least(self) -> float:
        """The threshold as a number; minus infinity without one."""
        return -np.inf if self.threshold is None else self.threshold


@dataclass(frozen=True)
class ScoredWindows:
    """The windows of one image with one detector's scores.

    Attributes:
        windows: float32 `[n, 4]` pixels.
        scores: float32 `[n, K]`, the categories in one order for all detectors.
        compared: float32 `[n, K]`, what is compared with other detectors' instead, in the scores' order, such as their
            log-odds; None for the scores as they are, the paper's way.
    """

    windows: Float32s
    scores: Float32s
    compared: Float32s | None = None

    def __post_init__(self) -> None:
        if self.scores.ndim != 2 or self.windows.shape != (len(self.scores), 4):
            raise DataError("bad-scores", f"windows {list(self.windows.shape)}, scores {list(self.scores.shape)}")
        if not np.isfinite(self.scores).all():
            raise DataError("nan-features", "a window's score is not finite")

    @property
    def ranks(self) -> Float32s:
        """What is compared with other detectors'."""
        return self.scores if self.compared is None else self.compared


@dataclass(frozen=True)
class Chosen:
    """The detections of one image, category by category, by falling score.

    Attributes:
        category: int32 `[m]`.
        detector: int32 `[m]`, whose window it is.
        window: int32 `[m]`, among that detector's windows.
        scores: float32 `[m]`, those that were compared.
    """

    category: NDArray[np.int32]
    detector: NDArray[np.int32]
    window: NDArray[np.int32]
    scores: Float32s

    def __len__(self) -> int:
        return len(self.category)


def choose_windows(found: Sequence[ScoredWindows], threshold: float, nms_iou: float, per_image: int) -> Chosen:
    """Suppress the union of several detectors' windows, category by category.

    Args:
        found: one entry a detector; of equal scores the earlier detector's window comes first.
        threshold: windows whose own score is not above it are dropped.
        nms_iou: a window that overlaps a better one by more goes.
        per_image: at most so many windows a category stay, the best.

    Raises:
        DataError: `bad-scores` if the detectors have different numbers of categories.
    """
    widths = {entry.scores.shape[1] for entry in found}
    if len(widths) != 1:
        raise DataError("bad-scores", f"detectors score different numbers of categories: {sorted(widths)}")
    windows = np.concatenate([entry.windows for entry in found])
    scores, ranks = (np.concatenate([getattr(entry, name) for entry in found]) for name in ("scores", "ranks"))
    sizes = [len(entry.windows) for entry in found]
    detector = np.repeat(np.arange(len(found), dtype=np.int32), sizes)
    place = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])
    category, rows = np.nonzero(threshold < scores.T)
    kept = nms_by_category(windows[rows], ranks[rows, category], category, nms_iou, per_image)
    category, rows = category[kept], rows[kept]
    return Chosen(category.astype(np.int32), detector[rows], place[rows], ranks[rows, category])
