"""Mean average precision over images drawn again, with replacement: how sure a difference of detectors is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sppnet.arrays import Float64s, Integers
from sppnet.evaluation.curves import IGNORED, TRUE_POSITIVE, Detections, rank

_AT_ONCE = 1 << 23
"""Numbers that one step of the work holds."""
_RECALLS = np.arange(11) / 10


@dataclass(frozen=True)
class JudgedCategory:
    """What became of the detections of one category.

    Attributes:
        images: int64 `[n]` image of each detection that counts, by falling score.
        right: int64 `[n]` 1 for one that is right, else 0.
        objects: int64 `[m]` image of each object that counts.
    """

    images: Integers
    right: Integers
    objects: Integers

    @classmethod
    def of(cls, detections: Detections, outcomes: NDArray[np.int8], objects: Integers) -> JudgedCategory:
        """Take a category whose outcomes are known, such as by `match_voc`.

        Args:
            detections: Of the category; their images are numbers.
            outcomes: int8 `[detections]`.
            objects: int64 `[m]` image of each object that counts.
        """
        order = rank(detections.scores)
        order = order[outcomes[order] != IGNORED]
        right = (outcomes[order] == TRUE_POSITIVE).astype(np.int64)
        return cls(np.asarray(detections.images[order], dtype=np.int64), right, np.asarray(objects, dtype=np.int64))


@dataclass(frozen=True)
class ResampledMaps:
    """A detector's mean average precisions under each draw of images.

    Attributes:
        voc07: float64 `[draws]` VOC2007's; NaN where a draw has no object at all.
        area: float64 `[draws]` the area AP.
    """

    voc07: Float64s
    area: Float64s


def draw_images(images: int, draws: int, seed: int) -> Integers:
    """Draw as many images as there are, with replacement, several times.

    Returns:
        int64 `[draws, images]`: how often each image is in each draw.
    """
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=draws).astype(np.int64)


def resampled_maps(categories: Mapping[str, JudgedCategory], counts: Integers) -> ResampledMaps:
    """Return the mean over the categories of their average precision, for each draw of images.

    An image that is drawn twice counts as two equal images, whose equal detections rank together. A category
    without objects in a draw is left out of that draw's mean.

    Args:
        categories: The categories of one detector.
        counts: int64 `[draws, images]` of `draw_images`.
    """
    found = [_average_precisions(one, counts) for one in categories.values()]
    if not found:
        return ResampledMaps(np.full(len(counts), np.nan), np.full(len(counts), np.nan))
    voc07, area = (_mean_of_known(np.array(values)) for values in zip(*found, strict=True))
    return ResampledMaps(voc07, area)


def _mean_of_known(values: Float64s) -> Float64s:
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    means: Float64s = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return means


def _average_precisions(category: JudgedCategory, counts: Integers) -> tuple[Float64s, Float64s]:
    """Return both average precisions of one category, `[draws]` each."""
    step = max(1, _AT_ONCE // max(len(category.images), len(category.objects), 1))
    parts = [_of_draws(category, counts[first : first + step]) for first in range(0, len(counts), step)]
    return np.concatenate([voc07 for voc07, _ in parts]), np.concatenate([area for _, area in parts])


def _of_draws(category: JudgedCategory, counts: Integers) -> tuple[Float64s, Float64s]:
    positives = counts[:, category.objects].sum(axis=1).astype(np.float64)
    found = np.flatnonzero(category.right)  # precision and recall matter only where one is found
    weights = counts[:, category.images]
    hits = counts[:, category.images[found]]
    total = np.cumsum(weights, axis=1)[:, found]
    some = np.where(positives > 0, positives, np.nan)
    reached = np.cumsum(hits, axis=1)
    precision = reached / np.maximum(total, 1)
    monotone = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    area = (monotone * hits).sum(axis=1) / some
    best = np.zeros((len(counts), len(_RECALLS)))
    for place, recall in enumerate(_RECALLS):
        # The best precision from the first detection on that reaches the recall, in integers: 10 x 3 >= 3 x 10.
        first = (10 * reached < round(10 * recall) * positives[:, None]).sum(axis=1)
        inside = first < len(found)
        best[inside, place] = monotone[inside, first[inside]]
    voc07 = np.where(positives > 0, best.mean(axis=1), np.nan)
    return voc07, area
