"""A linear SVM problem, and what is minimised in it, written out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def feature_rows(
    n: int, d: int, positives: int, seed: int = 0, signal: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Non-negative, correlated features of mean norm 20, like pooled maps; the classes overlap."""
    rng = np.random.default_rng(seed)
    causes = rng.standard_normal((n, 16))
    causes[:positives, :4] += signal
    x = np.maximum(causes @ rng.standard_normal((16, d)) / 4 + rng.standard_normal((n, d)) - 0.3, 0.0)
    x *= 20.0 / np.linalg.norm(x, axis=1).mean()
    labels = np.where(np.arange(n) < positives, 1, -1)
    order = rng.permutation(n)
    return x[order].astype(np.float32), labels[order]


def svm_objective(
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    weights: NDArray[np.float32],
    bias: float,
    *,
    C: float = 0.001,
    positive_weight: float = 2.0,
    bias_scale: float = 10.0,
) -> float:
    """`1/2 |w|^2 + 1/2 (b / bias_scale)^2 + positive_weight C sum_pos hinge + C sum_neg hinge`."""
    hinge = np.maximum(0.0, 1.0 - y * (x @ weights + bias))
    cost = np.where(y > 0, positive_weight * C, C)
    norm = float(np.square(weights, dtype=np.float64).sum()) + (bias / bias_scale) ** 2
    return 0.5 * norm + float((cost * hinge).sum())
