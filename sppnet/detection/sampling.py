"""Which windows train what: fine-tuning's batches, the SVMs' negatives (section 4.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sppnet.arrays import Bools, Float32s, Float64s, Integers
from sppnet.boxes import iou_matrix, nms
from sppnet.errors import ConfigError, DataError


def label_windows(windows: ArrayLike, gt_boxes: ArrayLike, gt_labels: ArrayLike) -> tuple[Float32s, Integers]:
    """Return the object that each window overlaps most.

    Args:
        windows: `[n, 4]` pixels.
        gt_boxes: `[m, 4]` pixels, the objects of all categories in the image.
        gt_labels: `[m]` category of each object.

    Returns:
        The largest IoU, float32 `[n]`, and the category of that object, int64 `[n]`: the first among equals,
        and -1 where a window overlaps none.
    """
    labels = np.asarray(gt_labels, dtype=np.int64).reshape(-1)
    overlaps = iou_matrix(windows, gt_boxes)
    if overlaps.shape[1] != len(labels):
        raise DataError("bad-labels", f"{overlaps.shape[1]} objects but {len(labels)} labels")
    if len(labels) == 0:
        return np.zeros(len(overlaps), np.float32), np.full(len(overlaps), -1, np.int64)
    best = overlaps.argmax(axis=1)
    max_iou = np.take_along_axis(overlaps, best[:, None], axis=1)[:, 0]
    return max_iou.astype(np.float32), np.where(max_iou > 0.0, labels[best], -1)


def finetune_bands(
    max_iou: Float32s,
    positive: tuple[float, float] = (0.5, 1.0),
    negative: tuple[float, float] = (0.1, 0.5),
) -> tuple[Integers, Integers]:
    """Return the windows that fine-tuning may draw as objects and as background.

    Args:
        max_iou: `[n]` largest IoU of each window.
        positive: closed range `[lo, hi]` of the objects' IoU.
        negative: half-open range `[lo, hi)` of the background's.

    Returns:
        Indices of the positives and of the negatives, int64; windows in neither range are never used.

    Raises:
        ConfigError: the ranges overlap or are empty.
    """
    if not (negative[0] < negative[1] <= positive[0] <= positive[1]):
        raise ConfigError(f"IoU ranges negative {list(negative)} and positive {list(positive)} must follow each other")
    objects = (max_iou >= positive[0]) & (max_iou <= positive[1])
    background = (max_iou >= negative[0]) & (max_iou < negative[1])
    return np.flatnonzero(objects), np.flatnonzero(background)


def draw_batch(
    positives: int, negatives: int, rng: np.random.Generator, *, size: int = 128, positive_fraction: float = 0.25
) -> tuple[Integers, Integers]:
    """Draw one fine-tuning batch: 25 % objects, 75 % background.

    Args:
        positives: how many positives there are.
        negatives: how many negatives there are.
        rng: where the choice comes from.
        size: windows in the batch.
        positive_fraction: part of them that shows objects.

    Returns:
        Positions among the positives and among the negatives, int64. Each is drawn without repetition unless
        there are fewer than needed.

    Raises:
        DataError: `no-windows` if a kind that is needed does not exist.
    """
    wanted = round(size * positive_fraction)
    return _draw(positives, wanted, rng, "positive"), _draw(negatives, size - wanted, rng, "negative")


def _draw(available: int, wanted: int, rng: np.random.Generator, kind: str) -> Integers:
    if wanted and not available:
        raise DataError("no-windows", f"a batch needs {wanted} {kind} windows and there is none")
    return rng.choice(available, size=wanted, replace=wanted > available).astype(np.int64)


def svm_negatives(
    windows: ArrayLike,
    boxes_of_category: ArrayLike,
    *,
    max_iou: float = 0.3,
    inclusive: bool = True,
    dedupe_iou: float | None = 0.7,
) -> Integers:
    """Return the windows of one image that are a category's negatives.

    Args:
        windows: `[n, 4]` pixels.
        boxes_of_category: `[m, 4]` pixels: every object of the category, difficult ones too, since a window on
            a difficult object is no background.
        max_iou: a negative overlaps each of them by at most this.
        inclusive: whether `max_iou` itself is allowed (the paper's "at most 30 %"; the release: less than).
        dedupe_iou: in order of index, a window that overlaps an earlier negative by more than this is left out
            (the paper's 70 % rule); None keeps them all, as the release does.

    Returns:
        int64 `[negatives]` indices, rising.
    """
    boxes = np.asarray(windows, dtype=np.float64).reshape(-1, 4)
    overlaps = iou_matrix(boxes, boxes_of_category).max(axis=1, initial=0.0)
    candidates = np.flatnonzero(overlaps <= max_iou if inclusive else overlaps < max_iou)
    if dedupe_iou is None or len(candidates) == 0:
        return candidates
    # Greedy in order of index is non-maximum suppression with scores that fall with the index.
    return candidates[np.sort(nms(boxes[candidates], -np.arange(len(candidates)), dedupe_iou))]


def svm_negative_mask(
    windows: ArrayLike,
    gt_boxes: ArrayLike,
    gt_labels: ArrayLike,
    categories: int,
    *,
    max_iou: float = 0.3,
    inclusive: bool = True,
    dedupe_iou: float | None = 0.7,
) -> Bools:
    """Mark each category's `svm_negatives` of an image.

    Args:
        windows: `[n, 4]` pixels.
        gt_boxes: `[m, 4]` pixels, objects of all categories, difficult ones included.
        gt_labels: `[m]` category of each object, `0..categories-1`.
        categories: their number.
        max_iou: a negative overlaps no object of the category by more.
        inclusive: whether `max_iou` itself is allowed.
        dedupe_iou: overlap with an earlier negative above which a window is left out, or None.

    Returns:
        bool `[n, categories]`.
    """
    boxes = np.asarray(windows, dtype=np.float64).reshape(-1, 4)
    objects = np.asarray(gt_boxes, dtype=np.float64).reshape(-1, 4)
    labels = np.asarray(gt_labels, dtype=np.int64).reshape(-1)

    def column(own: Float64s) -> Bools:
        chosen = svm_negatives(boxes, own, max_iou=max_iou, inclusive=inclusive, dedupe_iou=dedupe_iou)
        mask = np.zeros(len(boxes), dtype=bool)
        mask[chosen] = True
        return mask

    # Most categories have no object in an image; they share one answer.
    result = np.repeat(column(objects[:0])[:, None], categories, axis=1)
    for category in np.unique(labels):
        result[:, category] = column(objects[labels == category])
    return result
