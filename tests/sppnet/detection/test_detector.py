"""A whole detector: windows are moved by their own category's regressor, equal windows alike."""

from __future__ import annotations

import numpy as np
import torch

from sppnet.sizes import Size
from tests.support.small_bundle import small_bundle

SIZE = Size(90, 70)
WINDOWS = np.array([[0, 0, 40, 50], [20, 10, 80, 60]], np.float32)


def test_each_row_is_what_its_regressor_gives_alone() -> None:
    bundle = small_bundle()
    detector = bundle.detector(torch.device("cpu"))
    maps = {scale: torch.rand(5, 6, bundle.backbone.channels, dtype=torch.float16) for scale in (64, 96)}
    rows, names = np.array([1, 0, 1, 1]), ["dog", "cat", "owl", "dog"]
    moved = detector.regress(maps, SIZE, WINDOWS, rows, names)
    assert np.isnan(moved[2]).all()
    assert np.array_equal(moved[0], moved[3])
    features = detector.regression_features(maps, SIZE, WINDOWS).float().numpy()
    for row in (0, 1):
        own = rows[row]
        expected = bundle.regressors[names[row]].predict(features[own][None], WINDOWS[own][None], SIZE)
        assert np.allclose(moved[row], expected[0], atol=1e-3)
