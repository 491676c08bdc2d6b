"""Box regression: the published formulas, planted maps, no move without information, artifacts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sppnet.boxes import decode_boxes, encode_boxes, paired_iou
from sppnet.detection.regression import BoxRegressor, BoxRegressors, train_regressor
from sppnet.detection.ridge import RowBlocks
from sppnet.errors import ArtifactError, ConfigError, DataError
from sppnet.sizes import Size
from tests.support.textbook_ridge import textbook


def still(d: int) -> BoxRegressor:
    """Leaves every window as it is."""
    return BoxRegressor(np.zeros((d + 1, 4), np.float32), np.zeros(4), np.eye(4))


def random_windows(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    corner = rng.uniform(0, 200, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(40, 120, (n, 2))], axis=1)


@pytest.mark.parametrize(("n", "d"), [(600, 12), (150, 400)])
def test_recovers_a_planted_linear_map(n: int, d: int) -> None:
    rng = np.random.default_rng(1)
    latent = rng.standard_normal((n, 8))
    basis, planted = rng.standard_normal((8, d)), rng.uniform(-0.03, 0.03, (8, 4))
    features = (latent @ basis).astype(np.float32)
    windows = random_windows(rng, n)
    targets = decode_boxes(windows, latent @ planted + [0.02, -0.03, 0.05, 0.0])
    regressor = train_regressor(features, windows, targets, ridge=1e-4)
    fresh = rng.standard_normal((50, 8))
    unseen = random_windows(rng, 50)
    expected = decode_boxes(unseen, fresh @ planted + [0.02, -0.03, 0.05, 0.0])
    got = regressor.predict((fresh @ basis).astype(np.float32), unseen, None)
    assert np.abs(got - expected).max() < 0.05
    assert np.abs(unseen - expected).max() > 5


def test_features_that_carry_nothing_leave_windows_as_they_are() -> None:
    rng = np.random.default_rng(2)
    windows = random_windows(rng, 100)
    move = rng.uniform(-0.1, 0.1, (50, 4))
    targets = decode_boxes(windows, np.concatenate([move, -move]))  # no mean to learn either
    regressor = train_regressor(np.zeros((100, 6), np.float32), windows, targets)
    assert np.allclose(regressor.predict(np.zeros((100, 6)), windows, None), windows, atol=1e-9)
    noise = rng.random((100, 6)).astype(np.float32)
    perfect = train_regressor(noise, windows, windows)
    assert np.allclose(perfect.predict(noise, windows, None), windows, atol=1e-9)
    assert np.array_equal(still(6).predict(noise, windows, Size(320, 320)), decode_boxes(windows, np.zeros((100, 4))))


def test_constant_features_learn_the_mean_move() -> None:
    rng = np.random.default_rng(3)
    windows = random_windows(rng, 80)
    targets = decode_boxes(windows, np.full((80, 4), 0.08))
    regressor = train_regressor(np.ones((80, 2), np.float32), windows, targets)
    assert np.allclose(regressor.mean, 0.08)
    assert np.allclose(regressor.predict(np.ones((80, 2)), windows, None), targets, atol=1e-6)


def test_whitened_ridge_by_the_published_formulas() -> None:
    rng = np.random.default_rng(4)
    windows = random_windows(rng, 60)
    deltas = rng.uniform(-0.12, 0.12, (60, 4)) @ np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0.2]])
    features = rng.random((60, 5)).astype(np.float32)
    regressor = train_regressor(features, windows, decode_boxes(windows, deltas), ridge=7.0, feature_scale=2.0)
    centred = deltas - deltas.mean(axis=0)
    d, v = np.linalg.eigh(centred.T @ centred / 60)
    whitening = v @ np.diag(1 / np.sqrt(d + 0.001)) @ v.T
    beta = textbook(2.0 * features.astype(np.float64), centred @ whitening, 7.0)
    expected = np.concatenate([2.0 * features, np.ones((60, 1))], axis=1) @ beta
    expected = expected @ (v @ np.diag(np.sqrt(d + 0.001)) @ v.T) + deltas.mean(axis=0)
    assert np.allclose(regressor.deltas(features), expected, atol=1e-6)


def test_only_windows_above_the_overlap_train() -> None:
    rng = np.random.default_rng(5)
    windows = np.round(random_windows(rng, 40))
    targets = windows.copy()
    targets[:20, 2] += windows[:20, 2] - windows[:20, 0]  # twice as wide
    assert (paired_iou(windows[:20], targets[:20]) == 0.5).all()  # which is not more than a half
    features = rng.random((40, 3)).astype(np.float32)
    features[:20] = np.nan  # never looked at
    regressor = train_regressor(features, windows, targets)
    assert np.allclose(regressor.mean, 0.0)
    with pytest.raises(DataError, match="no-examples"):
        train_regressor(features[:20], windows[:20], targets[:20])
    with pytest.raises(DataError, match="nan-features"):
        train_regressor(features, windows, targets, min_iou=0.49)


def test_half_precision_and_torch_give_the_same_boxes() -> None:
    rng = np.random.default_rng(6)
    windows = random_windows(rng, 50)
    targets = decode_boxes(windows, rng.uniform(-0.1, 0.1, (50, 4)))
    features = rng.random((50, 9)).astype(np.float16)
    regressor = train_regressor(features, windows, targets, ridge=1.0)
    same = train_regressor(features.astype(np.float32), windows, targets, ridge=1.0)
    assert np.array_equal(regressor.weights, same.weights)
    boxes = regressor.predict(features, windows, Size(250, 250))
    assert boxes.max() <= 250
    assert np.allclose(regressor.predict(torch.from_numpy(features), windows, Size(250, 250)), boxes, atol=1e-3)


def test_regression_brings_boxes_closer() -> None:
    rng = np.random.default_rng(7)
    windows = random_windows(rng, 400)
    latent = rng.standard_normal((400, 4))
    targets = decode_boxes(windows, 0.08 * latent + 0.01 * rng.standard_normal((400, 4)))
    features = np.maximum(latent @ rng.standard_normal((4, 60)), 0).astype(np.float32)
    regressor = train_regressor(features[:300], windows[:300], targets[:300], ridge=10.0)
    before = paired_iou(windows[300:], targets[300:]).mean()
    after = paired_iou(regressor.predict(features[300:], windows[300:], None), targets[300:]).mean()
    assert after > before + 0.1


def test_errors() -> None:
    windows = [[0, 0, 10, 10]]
    with pytest.raises(DataError, match="1 windows"):
        train_regressor(np.zeros((2, 3), np.float32), windows, windows)
    with pytest.raises(ConfigError, match="ridge"):
        train_regressor(np.zeros((1, 3), np.float32), windows, windows, ridge=0.0)
    with pytest.raises(DataError, match="3 features got 2"):
        still(3).predict(np.zeros((1, 2)), windows, None)
    with pytest.raises(ConfigError, match="weights"):
        BoxRegressor(np.zeros((3, 3), np.float32), np.zeros(4), np.eye(4))


def container() -> BoxRegressors:
    rng = np.random.default_rng(8)
    windows = random_windows(rng, 30)
    targets = decode_boxes(windows, rng.uniform(-0.1, 0.1, (30, 4)))
    trained = train_regressor(rng.random((30, 5)).astype(np.float32), windows, targets, ridge=1.0)
    return BoxRegressors(("cat", "dog"), (trained, still(5)))


def test_container_by_name() -> None:
    regressors = container()
    assert [regressors["cat"], regressors["dog"]] == list(regressors.regressors)
    with pytest.raises(ConfigError, match="cow"):
        regressors["cow"]
    with pytest.raises(ConfigError, match="different numbers"):
        BoxRegressors(("cat", "bird"), (still(5), still(4)))
    with pytest.raises(ConfigError, match="2 categories"):
        BoxRegressors(("cat", "bird"), (still(5),))


def test_tensors_round_trip() -> None:
    from safetensors.torch import load, save

    regressors = container()
    tensors, metadata = regressors.to_tensors()
    back = BoxRegressors.from_tensors(load(save(tensors)), metadata)
    assert back.categories == regressors.categories
    for one, other in zip(back.regressors, regressors.regressors, strict=True):
        assert np.array_equal(one.weights, other.weights)
        assert np.array_equal(one.mean, other.mean)
        assert np.array_equal(one.inverse_whitening, other.inverse_whitening)
    with pytest.raises(ArtifactError, match="box-regressors"):
        BoxRegressors.from_tensors(tensors, {"kind": "linear-svms"})
    with pytest.raises(ArtifactError, match="means"):
        BoxRegressors.from_tensors({k: v for k, v in tensors.items() if k != "means"}, metadata)


def test_encoding_used_is_the_boxes_modules() -> None:
    windows = np.array([[0.0, 0.0, 10.0, 10.0]])
    targets = np.array([[1.0, 0.0, 11.0, 12.0]])
    regressor = train_regressor(np.zeros((1, 1), np.float32), windows, targets)
    assert np.allclose(regressor.mean, encode_boxes(windows, targets)[0])


@pytest.mark.parametrize("n", [40, 300])
@pytest.mark.parametrize("sizes", [(300,), (7, 33, 260), (1,) * 300])
def test_blocks_give_what_the_whole_gives(n: int, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """In the dual form and in the primal, however the rows are cut, to the last bit."""
    monkeypatch.setattr("sppnet.detection.ridge._BLOCK", 64)
    rng = np.random.default_rng(2)
    windows = rng.random((n, 4)) * 30 + [0, 0, 60, 60]
    targets = windows + rng.normal(0, 9, (n, 4))
    features = rng.random((n, 50)).astype(np.float16)

    def read() -> Iterator[np.ndarray]:
        ends = np.minimum(np.cumsum(sizes), n)
        yield from (features[start:end] for start, end in zip([0, *ends], ends, strict=False))

    whole = train_regressor(features, windows, targets, ridge=3.0)
    parts = train_regressor(RowBlocks(n, 50, read), windows, targets, ridge=3.0)
    assert whole.weights.tobytes() == parts.weights.tobytes()
    features[5] = np.nan
    with pytest.raises(DataError, match="nan-features"):
        train_regressor(RowBlocks(n, 50, read), windows, windows, ridge=3.0)
