"""Training an SVM: both solvers reach liblinear's minimum, and what can't be trained on is told."""

from __future__ import annotations

import numpy as np
import pytest

from sppnet.detection.svm_solvers import solve_liblinear
from sppnet.detection.svm_training import train_svm
from sppnet.errors import ConfigError, DataError
from tests.support.svm_problem import feature_rows, svm_objective


@pytest.mark.parametrize(
    ("n", "d", "positives", "signal"), [(400, 900, 40, 1.0), (1500, 60, 200, 0.5), (300, 2000, 3, 2.0)]
)
@pytest.mark.parametrize("C", [0.001, 0.03])
def test_reaches_liblinears_objective(n: int, d: int, positives: int, signal: float, C: float) -> None:
    x, y = feature_rows(n, d, positives, signal=signal)
    reference = solve_liblinear(x, y.astype(float), C, 2.0, 10.0, 100_000, 1e-5, 0)
    lowest = svm_objective(x, y, *reference, C=C)
    for solver in ("dual-cd", "liblinear"):
        w, b = train_svm(x, y, C=C, solver=solver)  # type: ignore[arg-type]
        assert w.shape == (d,)
        assert w.dtype == np.float32
        assert svm_objective(x, y, w, b, C=C) == pytest.approx(lowest, rel=1e-3), solver


def test_same_seed_same_bytes_and_inputs_untouched() -> None:
    x, y = feature_rows(300, 100, 30)
    before = x.copy()
    first, second = train_svm(x, y, seed=5), train_svm(x, y, seed=5)
    assert first[0].tobytes() == second[0].tobytes()
    assert first[1] == second[1]
    assert np.array_equal(x, before)


def test_float16_features_give_the_float32_answer() -> None:
    x, y = feature_rows(300, 100, 30)
    half = x.astype(np.float16)
    w, b = train_svm(half, y)
    same, offset = train_svm(half.astype(np.float32), y)
    assert np.array_equal(w, same)
    assert b == offset


def test_not_converged_is_logged_and_returned_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    x, y = feature_rows(500, 100, 60, signal=0.2)
    rough = train_svm(x, y, C=1.0, max_iter=2, tolerance=1e-6)
    assert "not converged epochs=2" in caplog.text
    caplog.clear()
    lowest = train_svm(x, y, C=1.0, max_iter=100_000, tolerance=1e-3)
    assert not caplog.text
    assert svm_objective(x, y, *rough, C=1.0) > 1.001 * svm_objective(x, y, *lowest, C=1.0)


@pytest.mark.parametrize("label", [1, -1])
@pytest.mark.parametrize("solver", ["dual-cd", "liblinear"])
def test_one_class_is_an_error(label: int, solver: str) -> None:
    with pytest.raises(DataError, match="one-class"):
        train_svm(np.ones((3, 2), np.float32), [label] * 3, solver=solver)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_no_numbers(value: float) -> None:
    x = np.ones((4, 3), np.float16)
    x[2, 1] = value
    with pytest.raises(DataError, match="first is 2") as caught:
        train_svm(x, [1, -1, 1, -1])
    assert caught.value.reason == "nan-features"


def test_wrong_arguments() -> None:
    x = np.ones((2, 3), np.float32)
    with pytest.raises(DataError, match="3 labels"):
        train_svm(x, [1, -1, 1])
    with pytest.raises(DataError, match=r"\+1 and -1"):
        train_svm(x, [1, 0])
    with pytest.raises(ConfigError, match="C must be"):
        train_svm(x, [1, -1], C=0.0)
    with pytest.raises(ConfigError, match="sgd"):
        train_svm(x, [1, -1], solver="sgd")  # type: ignore[arg-type]
