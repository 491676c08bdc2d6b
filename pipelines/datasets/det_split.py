"""Cuts annotated images into two halves that are alike in every category, as R-CNN did with DET's validation set."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_STEPS = 2000


def imbalance(counts: npt.NDArray[np.int64], first: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the relative imbalance of two halves, `|a - b| / (a + b)` by category; 0 where there is nothing.

    Args:
        counts: Objects by image and category, `[n, categories]`.
        first: Which images are in the first half, `[n]`.
    """
    a, b = counts[first].sum(0), counts[~first].sum(0)
    return np.asarray(np.abs(a - b) / np.maximum(a + b, 1), np.float64)


def balanced_halves(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Choose the first half so that the largest imbalance of any category is small.

    Images with much of something rare choose their side first, each the one that lowers the sum of squared relative
    imbalances; then single images change sides as long as that lowers the largest imbalance. The number of images is
    balanced like one more category. The result depends on `counts` alone.

    Args:
        counts: Objects by image and category, `[n, categories]`.

    Returns:
        Which images are in the first half, `[n]`.
    """
    full = np.concatenate([counts, np.ones((len(counts), 1), np.int64)], axis=1)
    shares = full / np.maximum(full.sum(0), 1)
    side = np.zeros(len(full), np.int64)
    lean = np.zeros(full.shape[1])
    for image in np.argsort(-(shares**2).sum(1), kind="stable"):
        side[image] = -1 if lean @ shares[image] > 0 else 1
        lean += side[image] * shares[image]
    _search(shares, side, lean)
    return side > 0


def _search(shares: npt.NDArray[np.float64], side: npt.NDArray[np.int64], lean: npt.NDArray[np.float64]) -> None:
    """Move images off the heavier side of the worst category while that helps; changes `side` and `lean`."""
    for _ in range(_STEPS):
        worst = int(np.abs(lean).argmax())
        movable = np.flatnonzero((shares[:, worst] > 0) & (side * lean[worst] > 0))
        if not len(movable):
            return
        after = lean - 2 * side[movable, None] * shares[movable]
        largest = np.abs(after).max(1)
        best = int(np.lexsort(((after**2).sum(1), largest))[0])
        if largest[best] >= np.abs(lean[worst]) - 1e-12:
            return
        side[movable[best]] *= -1
        lean[:] = after[best]
