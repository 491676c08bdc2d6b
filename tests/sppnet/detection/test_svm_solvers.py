"""The dual solver: the gap tells the truth, and the solution obeys the conditions of the optimum."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sppnet.detection.svm_solvers import SvmSolution, solve_dual
from tests.support.svm_problem import feature_rows, svm_objective


def solve(
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    *,
    C: float = 0.001,
    positive_weight: float = 2.0,
    bias_scale: float = 10.0,
    tolerance: float = 1e-4,
    max_epochs: int = 1000,
) -> SvmSolution:
    cost = np.where(y > 0, positive_weight * C, C)
    return solve_dual(x, y.astype(float), cost, bias_scale, tolerance=tolerance, max_epochs=max_epochs, seed=0)


def test_gap_bounds_the_distance_to_the_minimum() -> None:
    x, y = feature_rows(500, 300, 60)
    lowest = solve(x, y, tolerance=1e-6).objective
    for tolerance in (1e-2, 1e-3, 1e-4):
        rough = solve(x, y, tolerance=tolerance)
        assert rough.gap <= tolerance
        assert (rough.objective - lowest) / rough.objective <= rough.gap + 1e-6
        assert rough.objective == pytest.approx(svm_objective(x, y, rough.weights, rough.bias), rel=1e-5)


def test_solution_is_a_sum_of_support_vectors_within_their_bounds() -> None:
    x, y = feature_rows(400, 200, 50)
    s = solve(x, y, C=0.002, positive_weight=3.0, bias_scale=5.0)
    assert s.alphas.min() >= 0
    assert (s.alphas <= np.where(y > 0, 0.006, 0.002)).all()
    assert np.allclose((s.alphas * y) @ x, s.weights, atol=1e-5)
    assert s.bias == pytest.approx(25.0 * float((s.alphas * y).sum()), abs=1e-5)
    margins = y * (x @ s.weights + s.bias)
    assert margins[s.alphas == 0].min() > 0.9


def test_positive_weight_is_positives_given_twice() -> None:
    x, y = feature_rows(300, 40, 40)
    doubled = np.concatenate([x, x[y > 0]])
    plain = solve(doubled, np.concatenate([y, y[y > 0]]), positive_weight=1.0, tolerance=1e-6)
    weighted = solve(x, y, positive_weight=2.0, tolerance=1e-6)
    assert weighted.objective == pytest.approx(plain.objective, rel=1e-5)
    assert np.allclose(weighted.weights, plain.weights, atol=2e-3 * np.abs(plain.weights).max())


def test_it_ends_after_its_epochs_with_the_gap_that_is_left() -> None:
    x, y = feature_rows(500, 100, 60, signal=0.2)
    solution = solve(x, y, C=1.0, max_epochs=2, tolerance=1e-6)
    assert solution.epochs == 2
    assert solution.gap > 1e-6
