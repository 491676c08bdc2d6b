"""SVMs: both solvers reach liblinear's minimum, the gap tells the truth, artifacts keep every number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sppnet.detection.svm import LinearSvms, feature_scale, solve_svm, svm_objective, train_svm
from sppnet.detection.svm_solvers import solve_liblinear
from sppnet.errors import ArtifactError, ConfigError, DataError


def problem(
    n: int, d: int, positives: int, seed: int = 0, signal: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Non-negative, correlated features of mean norm 20, like pooled maps; the classes overlap."""
    rng = np.random.default_rng(seed)
    causes = rng.standard_normal((n, 16))
    causes[:positives, :4] += signal
    x = np.maximum(causes @ rng.standard_normal((16, d)) / 4 + rng.standard_normal((n, d)) - 0.3, 0.0)
    x *= feature_scale(np.linalg.norm(x, axis=1))
    labels = np.where(np.arange(n) < positives, 1, -1)
    order = rng.permutation(n)
    return x[order].astype(np.float32), labels[order]


@pytest.mark.parametrize(
    ("n", "d", "positives", "signal"), [(400, 900, 40, 1.0), (1500, 60, 200, 0.5), (300, 2000, 3, 2.0)]
)
@pytest.mark.parametrize("C", [0.001, 0.03])
def test_reaches_liblinears_objective(n: int, d: int, positives: int, signal: float, C: float) -> None:
    x, y = problem(n, d, positives, signal=signal)
    reference = solve_liblinear(x, y.astype(float), C, 2.0, 10.0, 100_000, 1e-5, 0)
    lowest = svm_objective(x, y, *reference, C=C)
    for solver in ("dual-cd", "liblinear"):
        w, b = train_svm(x, y, C=C, solver=solver)  # type: ignore[arg-type]
        assert w.shape == (d,)
        assert w.dtype == np.float32
        assert svm_objective(x, y, w, b, C=C) == pytest.approx(lowest, rel=1e-3), solver


def test_gap_bounds_the_distance_to_the_minimum() -> None:
    x, y = problem(500, 300, 60)
    lowest = solve_svm(x, y, tolerance=1e-6).objective
    for tolerance in (1e-2, 1e-3, 1e-4):
        rough = solve_svm(x, y, tolerance=tolerance)
        assert rough.gap <= tolerance
        assert (rough.objective - lowest) / rough.objective <= rough.gap + 1e-6
        assert rough.objective == pytest.approx(svm_objective(x, y, rough.weights, rough.bias), rel=1e-5)


def test_solution_is_a_sum_of_support_vectors_within_their_bounds() -> None:
    x, y = problem(400, 200, 50)
    s = solve_svm(x, y, C=0.002, positive_weight=3.0, bias_scale=5.0)
    assert s.alphas.min() >= 0
    assert (s.alphas <= np.where(y > 0, 0.006, 0.002)).all()
    assert np.allclose((s.alphas * y) @ x, s.weights, atol=1e-5)
    assert s.bias == pytest.approx(25.0 * float((s.alphas * y).sum()), abs=1e-5)
    margins = y * (x @ s.weights + s.bias)
    assert margins[s.alphas == 0].min() > 0.9


def test_positive_weight_is_positives_given_twice() -> None:
    x, y = problem(300, 40, 40)
    doubled = np.concatenate([x, x[y > 0]])
    plain = solve_svm(doubled, np.concatenate([y, y[y > 0]]), positive_weight=1.0, tolerance=1e-6)
    weighted = solve_svm(x, y, positive_weight=2.0, tolerance=1e-6)
    assert weighted.objective == pytest.approx(plain.objective, rel=1e-5)
    assert np.allclose(weighted.weights, plain.weights, atol=2e-3 * np.abs(plain.weights).max())


def test_same_seed_same_bytes_and_inputs_untouched() -> None:
    x, y = problem(300, 100, 30)
    before = x.copy()
    first, second = train_svm(x, y, seed=5), train_svm(x, y, seed=5)
    assert first[0].tobytes() == second[0].tobytes()
    assert first[1] == second[1]
    assert np.array_equal(x, before)


def test_float16_features_give_the_float32_answer() -> None:
    x, y = problem(300, 100, 30)
    half = x.astype(np.float16)
    w, b = train_svm(half, y)
    same, offset = train_svm(half.astype(np.float32), y)
    assert np.array_equal(w, same)
    assert b == offset


def test_warm_start_needs_fewer_epochs() -> None:
    x, y = problem(800, 300, 80, signal=0.6)
    cold = solve_svm(x, y, C=0.03, tolerance=1e-5)
    warm = solve_svm(x, y, C=0.03, tolerance=1e-5, alphas=cold.alphas, seed=1)
    assert warm.epochs < cold.epochs
    assert warm.objective == pytest.approx(cold.objective, rel=1e-4)


def test_not_converged_is_reported_in_gap_and_log(caplog: pytest.LogCaptureFixture) -> None:
    x, y = problem(500, 100, 60, signal=0.2)
    s = solve_svm(x, y, C=1.0, max_iter=2, tolerance=1e-6)
    assert s.epochs == 2
    assert s.gap > 1e-6
    assert "not converged" in caplog.text


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
    with pytest.raises(DataError, match="5 dual variables"):
        solve_svm(x, [1, -1], alphas=np.zeros(5))


def test_feature_scale() -> None:
    assert feature_scale([10.0, 30.0]) == 1.0
    assert feature_scale([5.0]) == 4.0
    for norms in ([], [0.0], [np.nan]):
        with pytest.raises(DataError, match="bad-features"):
            feature_scale(norms)


def svms() -> LinearSvms:
    rng = np.random.default_rng(3)
    trained = {name: (rng.standard_normal(7).astype(np.float32), float(rng.normal())) for name in ("cat", "kočka")}
    return LinearSvms.of(trained, feature_scale=0.25, features="fc7")


def test_scores_scale_raw_features() -> None:
    s = svms()
    x = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
    expected = (0.25 * x.astype(float)) @ s.weights.T.astype(float) + s.biases
    got = s.scores(x)
    assert got.dtype == np.float32
    assert np.allclose(got, expected, atol=1e-6)
    tensor = s.scores(torch.from_numpy(x))
    assert tensor.dtype == torch.float32
    assert np.allclose(tensor.numpy(), expected, atol=1e-6)
    assert np.allclose(s.scores(torch.from_numpy(x).half()).numpy(), expected, atol=5e-3)
    with pytest.raises(DataError, match="7 features got 6"):
        s.scores(x[:, :6])


def test_tensors_round_trip() -> None:
    from safetensors.torch import load, save

    s = svms()
    tensors, metadata = s.to_tensors()
    assert all(isinstance(v, str) for v in metadata.values())
    back = LinearSvms.from_tensors(load(save(tensors)), metadata)
    assert np.array_equal(back.weights, s.weights)
    assert np.array_equal(back.biases, s.biases)
    assert (back.categories, back.feature_scale, back.features) == (s.categories, 0.25, "fc7")
    with pytest.raises(ArtifactError, match="linear-svms"):
        LinearSvms.from_tensors(tensors, {})
    with pytest.raises(ArtifactError, match="biases"):
        LinearSvms.from_tensors({"weights": tensors["weights"]}, metadata)
    with pytest.raises(ArtifactError, match="pool6"):
        LinearSvms.from_tensors(tensors, metadata | {"features": "pool6"})


def test_joining_adds_categories() -> None:
    s = svms()
    dog = LinearSvms.of({"dog": (np.ones(7, np.float32), 0.5)}, feature_scale=0.25, features="fc7")
    both = s.joined(dog)
    assert both.categories == ("cat", "kočka", "dog")
    x = np.random.default_rng(0).standard_normal((4, 7)).astype(np.float32)
    assert np.allclose(both.scores(x), np.concatenate([s.scores(x), dog.scores(x)], axis=1))
    with pytest.raises(ConfigError, match="cat"):
        s.joined(s)
    with pytest.raises(ConfigError, match="scales"):
        s.joined(LinearSvms.of({"dog": (np.ones(7), 0.5)}, feature_scale=0.5, features="fc7"))


def test_shapes_must_agree() -> None:
    with pytest.raises(ConfigError, match="2 categories"):
        LinearSvms(np.zeros((1, 3), np.float32), np.zeros(1, np.float32), ("a", "b"), 1.0, "fc7")
    with pytest.raises(ConfigError, match="no category"):
        LinearSvms.of({}, 1.0, "fc7")
