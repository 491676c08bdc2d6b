"""Training one-vs-rest linear SVMs on window features (section 4.1), as R-CNN's liblinear call does.

C = 0.001 on features of mean norm 20, positives count twice, and the bias is the weight of a constant feature 10 (so
it is regularised, weakly).
"""

from __future__ import annotations

import logging
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from sppnet.arrays import Array, Float32s, Float64s
from sppnet.detection.feature_scale import check_finite
from sppnet.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

Solver = Literal["dual-cd", "liblinear"]
"""Our dual coordinate descent, or scikit-learn's liblinear."""


def train_svm(
    features: Array,
    labels: ArrayLike,
    *,
    C: float = 0.001,
    positive_weight: float = 2.0,
    bias_scale: float = 10.0,
    max_iter: int = 1000,
    tolerance: float = 1e-4,
    seed: int = 0,
    solver: Solver = "dual-cd",
) -> tuple[Float32s, float]:
    """Train one category's SVM.

    Minimises `1/2 |w|^2 + 1/2 (b / bias_scale)^2 + positive_weight C sum_pos hinge + C sum_neg hinge`. One that is
    not converged after `max_iter` passes is returned as it is, and logged.

    Args:
        features: `[n, d]`, already scaled; C-contiguous float32 is used in place, anything else copied to that.
        labels: `[n]` of +1 and -1.
        C: cost of a negative within the margin.
        positive_weight: factor on the cost of positives.
        bias_scale: value of the constant feature whose weight is the bias.
        max_iter: passes over the examples at most.
        tolerance: relative duality gap to reach. liblinear has no such criterion: its own, the largest
            violation, gets the same number.
        seed: of the order in which examples are visited.
        solver: `dual-cd`, or `liblinear` for scikit-learn's (which copies the features to float64).

    Returns:
        The weights, float32 `[d]`, and the bias.

    Raises:
        DataError: `one-class` without a positive or a negative, `nan-features`, `bad-labels`.
        ConfigError: a parameter is out of its range.
    """
    from sppnet.detection.svm_solvers import solve_dual, solve_liblinear

    if solver not in get_args(Solver):
        raise ConfigError(f"solver: {solver!r} is not one of {', '.join(get_args(Solver))}")
    X, y = _checked(features, labels, C, positive_weight, bias_scale)
    if solver == "liblinear":
        return solve_liblinear(X, y, C, positive_weight, bias_scale, max_iter, tolerance, seed)
    cost = np.where(y > 0, positive_weight * C, C)
    solution = solve_dual(X, y, cost, bias_scale, tolerance=tolerance, max_epochs=max_iter, seed=seed)
    if solution.gap > tolerance:
        logger.warning("svm not converged epochs=%d gap=%.2e", solution.epochs, solution.gap)
    return solution.weights, solution.bias


def _checked(
    features: Array, labels: ArrayLike, C: float, positive_weight: float, bias_scale: float
) -> tuple[Float32s, Float64s]:
    """Return the features, float32 and contiguous, and the labels, both found fit to train on."""
    for name, value in (("C", C), ("positive_weight", positive_weight), ("bias_scale", bias_scale)):
        if not value > 0.0:
            raise ConfigError(f"{name} must be greater than 0, not {value}")
    y = np.asarray(labels, dtype=np.float64).reshape(-1)
    if features.ndim != 2 or len(features) != len(y):
        raise DataError("bad-features", f"features {list(features.shape)} do not go with {len(y)} labels")
    if not np.isin(y, (1.0, -1.0)).all():
        raise DataError("bad-labels", "labels of an SVM are +1 and -1")
    positives = int(np.count_nonzero(y > 0))
    if positives in {0, len(y)}:
        raise DataError("one-class", f"{positives} positives and {len(y) - positives} negatives: need both")
    X = np.ascontiguousarray(features, dtype=np.float32)
    check_finite(X)
    return X, y
