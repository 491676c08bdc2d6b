"""Differences of classifiers that are judged on the same images, and how sure they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

CONFIDENCE = 0.95
"""The part of intervals that hold what they are about."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, at `CONFIDENCE`."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How much more often one kind of classifier errs than another.

    Attributes:
        mean: Mean over the pairs of error - error, -1..1; below 0 the first errs less.
        by_pair: The difference of each pair, such as the networks of one seed.
        over_pairs: Student's interval of the mean over other pairs, such as other seeds, on these images; None for one
            pair.
        over_images: Its interval over other images, with these pairs.
    """

    mean: float
    by_pair: tuple[float, ...]
    over_pairs: Interval | None
    over_images: Interval


def paired_difference(first: ArrayLike, other: ArrayLike) -> PairedDifference:
    """Compare classifiers pair by pair on the same images.

    Args:
        first: bool `[pairs, images]`, where the first of each pair errs.
        other: bool `[pairs, images]`, where the other does.

    Raises:
        ValueError: The arrays' shapes differ, or there is no pair or no image.
    """
    from scipy import stats

    one, two = np.asarray(first, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if one.shape != two.shape or one.ndim != 2 or not one.size:
        raise ValueError(f"pairs of one set of images are needed, not {list(one.shape)} beside {list(two.shape)}")
    difference = one - two
    by_pair, by_image = difference.mean(axis=1), difference.mean(axis=0)
    pairs, images = difference.shape
    mean = float(difference.mean())
    over_pairs = None
    if pairs > 1:
        spread = stats.t.ppf((1 + CONFIDENCE) / 2, pairs - 1) * by_pair.std(ddof=1) / np.sqrt(pairs)
        over_pairs = _around(mean, float(spread))
    deviation = by_image.std(ddof=1) if images > 1 else np.inf
    over_images = _around(mean, float(stats.norm.ppf((1 + CONFIDENCE) / 2) * deviation / np.sqrt(images)))
    return PairedDifference(mean, tuple(map(float, by_pair)), over_pairs, over_images)


def _around(mean: float, spread: float) -> Interval:
    return Interval(max(mean - spread, -1.0), min(mean + spread, 1.0))
