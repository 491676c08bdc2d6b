"""Hard negatives: which windows join a category's negatives, and which leave (section 4.1).

A negative is hard if the current SVM scores it above -1, within the margin. Everything is ordered by
(category, falling score, window), never by who found it first, and samples are drawn by a hash of the
window's name, so that shards can be mined anywhere and merged in any order with the same result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sppnet.arrays import Bools, Float32s, Integers
from sppnet.boxes import nms_by_category
from sppnet.errors import ConfigError, DataError
from sppnet.pooling.geometry import Convention, Geometry, windows_to_cells
from sppnet.pooling.scales import choose_scales, scale_windows
from sppnet.seeds import derive_seed
from sppnet.sizes import Size

Dedupe = Literal["overlap", "response-box", "none"]
"""Which negatives of an image are left out: those that overlap another by more than a threshold (the paper), those
whose cells and scale are an earlier one's (the authors' release), or none."""

_FAR_CELLS = 1 << 20
"""Cells that windows are moved by, on a map twice as wide, to see their cells before clipping."""


class HardNegatives(NamedTuple):
    """Windows that join the negatives, by category, then by falling score, then by window.

    Attributes:
        categories: int64 `[m]` index of the category.
        windows: int64 `[m]` index of the window in its image.
        scores: float32 `[m]` what the category's SVM gave it.
    """

    categories: Integers
    windows: Integers
    scores: Float32s


def name_fraction(seed: int, key: str, window: int) -> float:
    """Return a number in `[0, 1)` by a window's name alone: those below `p` are a sample of that fraction.

    Args:
        seed: of the sample.
        key: the image's.
        window: index of the window.
    """
    return derive_seed(seed, "row", key, window) / 2**63


def sampled_fraction(limit: int, candidates: int) -> float:
    """Return the fraction of so many rows to keep so that `limit` are almost surely kept, and few more.

    Args:
        limit: rows wanted in the end.
        candidates: rows that there are at most.
    """
    # The number kept is binomial with a variance below its mean: six deviations more are never short in practice.
    return min(1.0, (limit + 6 * math.sqrt(limit)) / max(1, candidates))


def initial_negatives(n_windows: int, per_image: int | None, rng: np.random.Generator) -> Integers:
    """Draw the negatives of an image that the first SVM is trained on.

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


def first_responses(
    windows: ArrayLike,
    image_size: Size,
    scales: Sequence[int],
    geometry: Geometry,
    convention: Convention = "paper",
) -> Bools:
    """Mark the windows whose scale and cells, before clipping to the map, are not those of an earlier window.

    The authors' release drops the others instead of applying the paper's 70 % rule.

    Args:
        windows: `[n, 4]` pixels of the original image.
        image_size: of the original image, pixels.
        scales: short sides to choose from.
        geometry: of the backbone.
        convention: of the scale rule and the window mapping.

    Returns:
        bool `[n]`.
    """
    boxes = np.asarray(windows, dtype=np.float64).reshape(-1, 4)
    chosen = choose_scales(boxes, image_size, scales, convention)
    names = np.zeros((len(boxes), 5), np.int64)
    names[:, 0] = chosen
    # Windows in the middle of a map that no window leaves: their cells are what they are before any clipping.
    far, map_size = _FAR_CELLS * geometry.stride, Size.square(2 * _FAR_CELLS)
    for number in np.unique(chosen).tolist():
        rows = np.flatnonzero(chosen == number)
        scaled = scale_windows(boxes[rows], image_size, scales[number], convention)
        names[rows, 1:] = windows_to_cells(scaled + far, map_size, geometry, convention)
    first = np.zeros(len(boxes), dtype=bool)
    first[np.unique(names, axis=0, return_index=True)[1]] = True
    return first


def hard_negatives(
    scores: ArrayLike,
    negative_mask: ArrayLike,
    threshold: float = -1.0,
    limit: int | None = None,
    *,
    boxes: ArrayLike | None = None,
    max_overlap: float | None = None,
) -> HardNegatives:
    """Return the hard negatives of an image, for all categories at once.

    Args:
        scores: `[n, k]` score of each window for each category.
        negative_mask: bool `[n, k]`, True where the window is a negative of the category.
        threshold: a hard one scores above this.
        limit: at most so many per category, the best-scored ones; None takes all.
        boxes: `[n, 4]` pixels, needed for `max_overlap`.
        max_overlap: of two hard negatives of a category whose IoU is greater, the lower-scored is left out (the
            paper's 70 %); None keeps both.

    Raises:
        DataError: `nan-scores` if the score of a negative is not a number; shapes differ.
    """
    values, mask = np.asarray(scores, dtype=np.float32), np.asarray(negative_mask, dtype=bool)
    if values.shape != mask.shape or values.ndim != 2:
        raise DataError("bad-scores", f"scores {list(values.shape)} do not go with a mask {list(mask.shape)}")
    # One sum tells that there is nothing to look for; the mask of [n, k] is only made when there is.
    if np.isnan(values.sum()) and np.isnan(values[mask]).any():
        raise DataError("nan-scores", "scores of negatives are not numbers")
    windows, categories = np.nonzero(mask & (values > threshold))
    chosen = values[windows, categories]
    # Both ways order by category, falling score and window: what is kept never depends on the order of the shards.
    if max_overlap is None:
        order = np.lexsort((windows, -chosen, categories))
    elif boxes is None:
        raise ConfigError("max_overlap needs the windows' boxes")
    else:
        rows = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)[windows]
        order = nms_by_category(rows, chosen, categories, max_overlap, limit)
    windows, categories, chosen = windows[order], categories[order], chosen[order]
    if limit is not None:
        within = np.arange(len(categories)) - np.searchsorted(categories, categories) < limit
        windows, categories, chosen = windows[within], categories[within], chosen[within]
    return HardNegatives(categories.astype(np.int64), windows.astype(np.int64), chosen)


def evict(scores: ArrayLike, threshold: float = -1.2) -> Bools:
    """Tell which cached negatives leave after a training round: those that the new SVM is sure of.

    Args:
        scores: `[n]` scores of the cached negatives.
        threshold: those below it leave.

    Returns:
        bool `[n]`, True where the negative leaves.
    """
    return np.asarray(scores) < threshold
