"""Solvers of the linear SVM with hinge loss: our dual coordinate descent, and scikit-learn's liblinear.

Ours is liblinear's algorithm (Hsieh et al., ICML 2008) with its shrinking. What differs: rows stay dense
float32, so that nothing is copied and both inner loops are vector instructions, and the end is decided by
the duality gap, which bounds how far the objective is from its minimum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sppnet.arrays import Float32s, Float64s
from sppnet.compiling import compiled

_EPOCHS_PER_CALL = 50
_FIRST_VIOLATION, _LAST_VIOLATION = 0.1, 1e-7
# Sums may be reordered (that is what vectorises them), but infinities must keep their meaning.
_REORDER = {"reassoc", "contract", "nsz"}


@dataclass(frozen=True)
class SvmSolution:
    """One solved SVM.

    Attributes:
        weights: float32 `[d]`.
        bias: added to every score.
        alphas: float64 `[n]` dual variables, 0 for rows beyond the margin.
        objective: the primal objective reached.
        gap: duality gap as a fraction of the objective: no solution is better by more than this.
        epochs: passes over the active rows.
    """

    weights: Float32s
    bias: float
    alphas: Float64s
    objective: float
    gap: float
    epochs: int


@compiled(fastmath=_REORDER)
def _dot(a: Any, b: Any) -> Any:
    total = np.float32(0.0)
    for k in range(b.shape[0]):
        total += a[k] * b[k]
    return total


@compiled(fastmath=_REORDER)
def _add_scaled(a: Any, factor: Any, b: Any) -> None:
    for k in range(b.shape[0]):
        a[k] += factor * b[k]


@compiled()
def _shuffle(order: Any, count: int) -> None:
    for s in range(count - 1):
        other = s + np.random.randint(count - s)
        order[s], order[other] = order[other], order[s]


@compiled()
def _descend(
    X: Any,
    y: Any,
    upper: Any,
    curvature: Any,
    alphas: Any,
    w: Any,
    bias_scale: Any,
    violation: float,
    max_epochs: int,
    seed: int,
) -> tuple[int, bool]:
    """Run epochs of coordinate descent, in place on `alphas [n]` and `w [d + 1]`, the bias weight last.

    Returns:
        The epochs done, and whether no gradient of any row is worse than `violation`.
    """
    np.random.seed(seed)  # numba's own generator, apart from numpy's: nothing else draws from it
    n, d = X.shape
    order = np.arange(n)
    active = n
    bound_high, bound_low = np.inf, -np.inf
    for epoch in range(max_epochs):
        high, low = -np.inf, np.inf
        _shuffle(order, active)
        s = 0
        while s < active:
            i = order[s]
            gradient = y[i] * (_dot(w, X[i]) + bias_scale * w[d]) - 1.0
            at_low, at_high = alphas[i] <= 0.0, alphas[i] >= upper[i]
            # A row at its bound whose gradient points well outside is left out until the others are done.
            if (at_low and gradient > bound_high) or (at_high and gradient < bound_low):
                active -= 1
                order[s], order[active] = order[active], order[s]
                continue
            # The gradient along the box: at a bound only what points inside counts as a violation.
            projected = gradient
            if (at_low and gradient > 0.0) or (at_high and gradient < 0.0):
                projected = 0.0
            high, low = max(high, projected), min(low, projected)
            if abs(projected) > 1e-12:
                # The exact minimum along this coordinate, cut to the box.
                new = min(max(alphas[i] - gradient / curvature[i], 0.0), upper[i])
                step = np.float32((new - alphas[i]) * y[i])
                alphas[i] = new
                _add_scaled(w, step, X[i])
                w[d] += step * bias_scale
            s += 1
        if high - low <= violation:
            if active == n:
                return epoch + 1, True
            # The active rows are done; the others may have moved inside meanwhile, so all are looked at once more.
            active = n
            bound_high, bound_low = np.inf, -np.inf
            continue
        # The worst violations of this epoch say how far outside a gradient must point in the next to be left out.
        bound_high = high if high > 0.0 else np.inf
        bound_low = low if low < 0.0 else -np.inf
    return max_epochs, False


def solve_dual(
    X: Float32s,
    y: Float64s,
    upper: Float64s,
    bias_scale: float,
    *,
    tolerance: float,
    max_epochs: int,
    seed: int,
) -> SvmSolution:
    """Minimise `1/2 |w|^2 + 1/2 (b / bias_scale)^2 + sum_i upper_i max(0, 1 - y_i (w x_i + b))`.

    Args:
        X: float32 `[n, d]`, C-contiguous; only read.
        y: float64 `[n]` of +1 and -1.
        upper: float64 `[n]` cost of each row.
        bias_scale: value of the constant feature whose weight is the bias.
        tolerance: relative duality gap at which it ends.
        max_epochs: passes after which it ends in any case.
        seed: of the order in which rows are visited.
    """
    alphas = np.zeros(len(y))
    scale = np.float32(bias_scale)
    curvature = np.einsum("ij,ij->i", X, X).astype(np.float64) + bias_scale**2
    w = np.zeros(X.shape[1] + 1, dtype=np.float32)
    violation, epochs = _FIRST_VIOLATION, 0
    while True:
        budget = min(_EPOCHS_PER_CALL, max_epochs - epochs)
        done, settled = _descend(X, y, upper, curvature, alphas, w, scale, violation, budget, seed + epochs)
        epochs += done
        # Many small float32 steps drift from what the alphas stand for; the gap must be that of the answer.
        w = _weights(X, y, alphas, scale)
        objective, gap = _objective_and_gap(X, y, upper, alphas, w, scale)
        if gap <= tolerance or epochs >= max_epochs or violation < _LAST_VIOLATION:
            return SvmSolution(w[:-1], float(w[-1] * scale), alphas, objective, gap, epochs)
        if settled:  # but the gap is still too wide: the same rows, more exactly
            violation *= 0.1


def _weights(X: Float32s, y: Float64s, alphas: Float64s, bias_scale: np.float32) -> Float32s:
    """Return `[d + 1]` primal weights of the dual variables; only support vectors are read."""
    # A thousand rows at a time: picking them copies, and a copy of all would be as large as the features.
    support = np.flatnonzero(alphas)
    signed = (alphas[support] * y[support]).astype(np.float32)
    w = np.zeros(X.shape[1] + 1, dtype=np.float32)
    for s in range(0, len(support), 1024):
        w[:-1] += signed[s : s + 1024] @ X[support[s : s + 1024]]
    w[-1] = signed.sum(dtype=np.float64) * bias_scale
    return w


def _objective_and_gap(
    X: Float32s,
    y: Float64s,
    upper: Float64s,
    alphas: Float64s,
    w: Float32s,
    bias_scale: np.float32,
) -> tuple[float, float]:
    # Dual: sum of alphas - |w|^2 / 2 where w is exactly that of the alphas, which is why it was computed anew.
    margins = y * (X @ w[:-1] + bias_scale * w[-1])
    half_norm = 0.5 * float(np.square(w, dtype=np.float64).sum())
    primal = half_norm + float((upper * np.maximum(0.0, 1.0 - margins)).sum())
    return primal, (primal - (float(alphas.sum()) - half_norm)) / max(primal, 1e-300)


def solve_liblinear(
    X: Float32s,
    y: Float64s,
    C: float,
    positive_weight: float,
    bias_scale: float,
    max_iter: int,
    violation: float,
    seed: int,
) -> tuple[Float32s, float]:
    """Solve the same problem by scikit-learn's liblinear, which copies the features to float64.

    Args:
        X: float32 `[n, d]`.
        y: float64 `[n]` of +1 and -1.
        C: cost of a negative.
        positive_weight: factor on the cost of positives.
        bias_scale: value of the constant feature whose weight is the bias.
        max_iter: passes over the examples at most.
        violation: largest violation at which it ends (liblinear's epsilon).
        seed: of the order in which examples are visited.

    Returns:
        The weights, float32 `[d]`, and the bias.
    """
    from sklearn.svm import LinearSVC

    model = LinearSVC(
        C=C,
        class_weight={1: positive_weight, -1: 1.0},
        intercept_scaling=bias_scale,
        loss="hinge",
        dual=True,
        tol=violation,
        max_iter=max_iter,
        random_state=seed % 2**32,
    )
    model.fit(X, y)
    return model.coef_[0].astype(np.float32), float(model.intercept_[0])
