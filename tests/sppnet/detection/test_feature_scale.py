"""What is asked of features: one factor to a mean norm of 20, and finite numbers."""

from __future__ import annotations

import numpy as np
import pytest

from sppnet.detection.feature_scale import check_finite, feature_scale
from sppnet.errors import DataError


def test_feature_scale() -> None:
    assert feature_scale([10.0, 30.0]) == 1.0
    assert feature_scale([5.0]) == 4.0
    for norms in ([], [0.0], [np.nan]):
        with pytest.raises(DataError, match="bad-features"):
            feature_scale(norms)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_counted(value: float) -> None:
    features = np.ones((5, 3), np.float16)
    check_finite(features)
    features[[1, 4], 2] = value
    with pytest.raises(DataError, match="2 of 5 rows are not finite, the first is 1") as caught:
        check_finite(features)
    assert caught.value.reason == "nan-features"
