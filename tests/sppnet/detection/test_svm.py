"""SVMs of many categories: scores, joining, artifacts that keep every number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sppnet.detection.svm import LinearSvms
from sppnet.errors import ArtifactError, ConfigError, DataError


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
    with pytest.raises(ConfigError, match="SVMs of fc7 and of fc6"):
        s.joined(LinearSvms.of({"dog": (np.ones(7), 0.5)}, feature_scale=0.25, features="fc6"))


def test_joining_other_scales_changes_no_score() -> None:
    s = svms()
    dog = LinearSvms.of({"dog": (np.ones(7, np.float32), 0.5)}, feature_scale=0.7, features="fc7")
    both = s.joined(dog)
    assert both.feature_scale == 1.0
    assert np.array_equal(both.weights[:-1], s.folded()[0])
    assert np.array_equal(both.folded()[0][-1], dog.folded()[0][0])


def test_some_categories() -> None:
    s = svms()
    found = s.select([s.categories[1]])
    assert (found.categories, found.feature_scale) == (s.categories[1:], s.feature_scale)
    assert np.array_equal(found.weights, s.weights[1:])
    for wrong in (["cow"], []):
        with pytest.raises(ConfigError, match="no SVM of"):
            s.select(wrong)


def test_shapes_must_agree() -> None:
    with pytest.raises(ConfigError, match="2 categories"):
        LinearSvms(np.zeros((1, 3), np.float32), np.zeros(1, np.float32), ("a", "b"), 1.0, "fc7")
    with pytest.raises(ConfigError, match="no category"):
        LinearSvms.of({}, 1.0, "fc7")
