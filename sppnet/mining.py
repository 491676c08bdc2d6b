"""Hard negatives: which windows join a category's negatives, and which leave (section 4.1).

A negative is hard if the current SVM scores it above -1, within the margin. Everything is ordered by
(category, falling score, image, window), never by who found it first, so that shards can be mined
anywhere and merged in any order with the same result.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sppnet.errors import ConfigError, DataError


class HardNegative(NamedTuple):
    """One window that joins a category's negatives.

    Attributes:
        category: index of the category.
        window: index of the window in its image.
        score: what the category's SVM gave it.
        image: key of the image; empty where only one is looked at.
    """

    category: int
    window: int
    score: float
    image: str = ""


def initial_negatives(n_windows: int, per_image: int | None, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draws the negatives of an image that the first SVM is trained on.

    Args:
        n_windows: negatives that the image has.
        per_image: how many to take; None takes all.
        rng: seeded from the image's key, never from a rank.

    Returns:
        int64 positions among the image's negatives, rising, without repetition.
    """
    if per_image is None or per_image >= n_windows:
        return np.arange(n_windows, dtype=np.int64)
    if per_image < 0:
        raise ConfigError(f"per_image must not be negative: {per_image}")
    return np.sort(rng.choice(n_windows, size=per_image, replace=False)).astype(np.int64)


def hard_negatives(
    scores: ArrayLike,
    negative_mask: ArrayLike,
    threshold: float = -1.0,
    limit: int | None = None,
    *,
    image: str = "",
) -> list[HardNegative]:
    """The hard negatives of an image.

    Args:
        scores: `[n, k]` score of each window for each category.
        negative_mask: bool `[n, k]`, True where the window is a negative of the category.
        threshold: a hard one scores above this.
        limit: at most so many per category, the best-scored ones.
        image: key of the image, written into the result.

    Returns:
        By category, then by falling score, then by window.

    Raises:
        DataError: `nan-scores` if the score of a negative is not a number; shapes differ.
    """
    values, mask = np.asarray(scores), np.asarray(negative_mask, dtype=bool)
    if values.shape != mask.shape or values.ndim != 2:
        raise DataError("bad-scores", f"scores {list(values.shape)} do not go with a mask {list(mask.shape)}")
    if np.isnan(values[mask]).any():
        raise DataError("nan-scores", f"scores of negatives in image {image!r} are not numbers")
    windows, categories = np.nonzero(mask & (values > threshold))
    chosen = values[windows, categories]
    order = np.lexsort((windows, -chosen, categories))
    windows, categories, chosen = windows[order], categories[order], chosen[order]
    if limit is not None:
        starts = np.searchsorted(categories, categories)
        within = np.arange(len(categories)) - starts < limit
        windows, categories, chosen = windows[within], categories[within], chosen[within]
    rows = zip(categories.tolist(), windows.tolist(), chosen.tolist(), strict=True)
    return [HardNegative(category, window, score, image) for category, window, score in rows]


def merge_hard_negatives(parts: Iterable[Iterable[HardNegative]], limit: int | None = None) -> list[HardNegative]:
    """Merges what several images or shards found.

    Merging is associative and commutative, with the same limit at every step: shards may merge their images
    first, in any order, and a shard that was mined twice counts once.

    Args:
        parts: lists of hard negatives.
        limit: at most so many per category, the best-scored ones.

    Returns:
        By category, falling score, image and window.
    """
    best: dict[tuple[int, str, int], HardNegative] = {}
    for negative in sorted((n for part in parts for n in part), key=_order):
        # A window mined twice may have scores that differ in the last bit; the better one stands.
        best.setdefault((negative.category, negative.image, negative.window), negative)
    by_category = groupby(best.values(), key=lambda negative: negative.category)
    return [negative for _, group in by_category for negative in islice(group, limit)]


def _order(negative: HardNegative) -> tuple[int, float, str, int]:
    return negative.category, -negative.score, negative.image, negative.window


def evict(scores: ArrayLike, threshold: float = -1.2) -> NDArray[np.bool_]:
    """Which cached negatives leave after a training round: those that the new SVM is sure of.

    Args:
        scores: `[n]` scores of the cached negatives.
        threshold: those below it leave.

    Returns:
        bool `[n]`, True where the negative leaves.
    """
    return np.asarray(scores) < threshold
