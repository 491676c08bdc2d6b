"""What SVMs and box regressors ask of their features: finite numbers, of one mean norm (section 4.1, after R-CNN)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sppnet.arrays import Array
from sppnet.errors import DataError

MEAN_NORM = 20.0
"""Mean L2 norm of the scaled features: what C and the ridge of the paper's detectors rest on."""


def feature_scale(norms: ArrayLike, mean_norm: float = MEAN_NORM) -> float:
    """Return the one factor that gives features a mean norm of 20.

    Args:
        norms: `[n]` L2 norms of the features of a sample of windows.
        mean_norm: the mean norm wanted.

    Raises:
        DataError: there are no norms, or their mean is not a positive number.
    """
    array = np.asarray(norms, dtype=np.float64).reshape(-1)
    mean = float(array.mean()) if len(array) else 0.0
    if not (np.isfinite(mean) and mean > 0.0):
        raise DataError("bad-features", f"{len(array)} feature norms with mean {mean}: nothing to scale")
    return mean_norm / mean


def check_finite(features: Array) -> None:
    """Raise `DataError("nan-features")` if a feature is not a finite number.

    Args:
        features: `[n, d]`.
    """
    # A row's sum is finite only if the row is: no [n, d] mask is made.
    bad = np.flatnonzero(~np.isfinite(features.sum(axis=1, dtype=np.float32)))
    if len(bad):
        raise DataError("nan-features", f"{len(bad)} of {len(features)} rows are not finite, the first is {bad[0]}")
