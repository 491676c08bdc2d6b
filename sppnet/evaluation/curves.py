"""What both protocols share: the data of one category, recall and precision, average precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sppnet.arrays import Array, Bools, Float64s, Integers
from sppnet.boxes import paired_iou
from sppnet.errors import DataError

TRUE_POSITIVE, FALSE_POSITIVE, IGNORED = 1, 0, -1
"""What became of a detection; an ignored one is neither right nor wrong."""


def _columns(count: int, **columns: Array) -> None:
    for name, column in columns.items():
        if len(column) != count:
            raise DataError("bad-columns", f"{count} boxes but {len(column)} {name}")


@dataclass(frozen=True)
class GroundTruth:
    """The objects of one category in all images of a split.

    Attributes:
        images: `[n]` image of each object: all integers or all strings (integers are faster).
        boxes: float64 `[n, 4]` pixels.
        difficult: bool `[n]`, all False where the data set knows no such flag.
    """

    images: Array
    boxes: Float64s
    difficult: Bools

    @classmethod
    def of(
        cls, images: Sequence[str] | Sequence[int] | Array, boxes: ArrayLike, difficult: ArrayLike | None = None
    ) -> Self:
        """Build from anything array-like; without `difficult` no object is."""
        array = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        flags = np.zeros(len(array), bool) if difficult is None else np.asarray(difficult, bool).reshape(-1)
        keys = np.asarray(images).reshape(-1)
        _columns(len(array), images=keys, difficult=flags)
        return cls(images=keys, boxes=array, difficult=flags)

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, rows: Array) -> GroundTruth:
        """Return the objects at an index array or mask."""
        return GroundTruth(self.images[rows], self.boxes[rows], self.difficult[rows])


@dataclass(frozen=True)
class Detections:
    """The detections of one category in all images of a split.

    Attributes:
        images: `[n]` image of each detection, of the same kind as the ground truth's.
        boxes: float64 `[n, 4]` pixels.
        scores: float64 `[n]`; among equal scores the earlier row ranks first.
    """

    images: Array
    boxes: Float64s
    scores: Float64s

    @classmethod
    def of(cls, images: Sequence[str] | Sequence[int] | Array, boxes: ArrayLike, scores: ArrayLike) -> Self:
        """Build from anything array-like.

        Raises:
            DataError: the columns differ in length, or a score is not a number.
        """
        array = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        values = np.asarray(scores, dtype=np.float64).reshape(-1)
        keys = np.asarray(images).reshape(-1)
        _columns(len(array), images=keys, scores=values)
        if np.isnan(values).any():
            raise DataError("nan-scores", f"{int(np.isnan(values).sum())} of {len(values)} scores")
        return cls(images=keys, boxes=array, scores=values)

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, rows: Array) -> Detections:
        """Return the detections at an index array or mask."""
        return Detections(self.images[rows], self.boxes[rows], self.scores[rows])


@dataclass(frozen=True)
class CategoryResult:
    """How well one category is detected.

    Attributes:
        voc07_ap: mean over recall 0, 0.1, ..., 1 of the best precision at that recall or above; NaN without positives.
        area_ap: area under the monotone precision-recall curve (VOC 2010 on, ILSVRC DET); NaN without positives.
        recall: float64 `[detections]`, by falling score.
        precision: float64 `[detections]`, by falling score.
        scores: float64 `[detections]`, falling.
        positives: objects that count.
        detections: detections that count (ignored ones left out).
        true_positives: detections that are right.
    """

    voc07_ap: float
    area_ap: float
    recall: Float64s
    precision: Float64s
    scores: Float64s
    positives: int
    detections: int
    true_positives: int


def summarise(scores: Float64s, outcomes: NDArray[np.int8], positives: int) -> CategoryResult:
    """Return the curves and average precisions of detections whose outcome is known.

    Args:
        scores: float64 `[n]`.
        outcomes: int8 `[n]`: TRUE_POSITIVE, FALSE_POSITIVE or IGNORED.
        positives: objects that count.
    """
    order = rank(scores)
    order = order[outcomes[order] != IGNORED]
    hits = np.cumsum(outcomes[order] == TRUE_POSITIVE, dtype=np.int64)
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / positives if positives else np.full(len(hits), np.nan)
    return CategoryResult(
        voc07_ap=eleven_point_ap(hits, positives),
        area_ap=area_ap(hits, positives),
        recall=recall,
        precision=precision,
        scores=scores[order],
        positives=positives,
        detections=len(order),
        true_positives=int(hits[-1]) if len(hits) else 0,
    )


def eleven_point_ap(hits: Integers, positives: int) -> float:
    """Return VOC2007's average precision.

    Args:
        hits: int64 `[n]` true positives among the first 1, 2, ... detections.
        positives: objects that count; without any the result is NaN.
    """
    if positives == 0:
        return float("nan")
    precision = hits / np.arange(1, len(hits) + 1)
    # recall >= t / 10 in integers: 3 of 10 objects is recall 0.3, which floats may miss.
    best = [np.max(precision[10 * hits >= t * positives], initial=0.0) for t in range(11)]
    return float(np.mean(best))


def area_ap(hits: Integers, positives: int) -> float:
    """Return the area under the precision-recall curve, made monotone from the right.

    Args:
        hits: int64 `[n]` true positives among the first 1, 2, ... detections.
        positives: objects that count; without any the result is NaN.
    """
    if positives == 0:
        return float("nan")
    precision = hits / np.arange(1, len(hits) + 1)
    monotone = np.maximum.accumulate(precision[::-1])[::-1]
    # Each true positive is a step of 1 / positives in recall.
    return float(monotone[np.diff(hits, prepend=0) > 0].sum() / positives)


def rank(scores: Float64s) -> Integers:
    """Return indices by falling score; among equal scores the earlier row comes first."""
    return np.argsort(-scores, kind="stable")


@dataclass(frozen=True)
class Pairs:
    """Every detection paired with every object of its image, by rank of the detection, then by object.

    Attributes:
        detection: int64 `[pairs]` index of the detection.
        rank: int64 `[pairs]` rank of the detection, 0 the best score.
        object: int64 `[pairs]` index of the object.
        image: int64 `[pairs]` a number of the image.
        iou: float64 `[pairs]`.
    """

    detection: Integers
    rank: Integers
    object: Integers
    image: Integers
    iou: Float64s

    def select(self, rows: Array) -> Pairs:
        """Return the pairs at an index array or mask."""
        return Pairs(self.detection[rows], self.rank[rows], self.object[rows], self.image[rows], self.iou[rows])


def pair_up(ground_truth: GroundTruth, detections: Detections) -> Pairs:
    """Pair each detection with the objects of its image; detections in other images have no pair."""
    known, codes = np.unique(ground_truth.images, return_inverse=True)
    by_image = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes, minlength=len(known))
    starts = np.concatenate([[0], np.cumsum(sizes)])

    order = rank(detections.scores)
    image = _lookup(known, detections.images[order])
    inside = image >= 0
    ranks, image = np.flatnonzero(inside), image[inside]
    counts = sizes[image]
    repeated = np.repeat(np.arange(len(ranks)), counts)
    offset = np.arange(len(repeated)) - np.repeat(np.cumsum(counts) - counts, counts)
    objects = by_image[starts[image[repeated]] + offset]
    detection = order[ranks[repeated]]
    return Pairs(
        detection=detection,
        rank=ranks[repeated],
        object=objects,
        image=image[repeated],
        iou=paired_iou(detections.boxes[detection], ground_truth.boxes[objects]),
    )


def _lookup(known: Array, keys: Array) -> Integers:
    """Return the position of each key in the sorted `known`, or -1."""
    if len(known) == 0 or len(keys) == 0:
        return np.full(len(keys), -1, dtype=np.int64)
    if (known.dtype.kind in "iu") != (keys.dtype.kind in "iu"):
        raise DataError("bad-keys", f"images are {known.dtype} in the ground truth but {keys.dtype} in detections")
    position = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[position] == keys, position, -1).astype(np.int64)
