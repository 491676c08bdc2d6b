"""The order of the authors' pooled vectors."""

from __future__ import annotations

import numpy as np
import pytest

from sppnet.networks.imported_heads import is_head_tensor, released_order
from sppnet.pooling.pyramid import Pyramid


def test_the_released_order_by_hand() -> None:
    """Two channels, levels 2 and 1: theirs is [1: c0, c1 | 2: c0 of four bins, c1 of four bins]."""
    assert released_order(Pyramid((2, 1)), 2).tolist() == [2, 6, 3, 7, 4, 8, 5, 9, 0, 1]


@pytest.mark.parametrize("levels", [(6, 3, 2, 1), (4, 3, 2, 1), (1, 2, 3, 6)])
def test_every_value_has_its_place(levels: tuple[int, ...]) -> None:
    pyramid = Pyramid(levels)
    order = released_order(pyramid, 256)
    assert np.array_equal(np.sort(order), np.arange(pyramid.bins * 256))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fc6.weight", True),
        ("head.layers.fc8.bias", True),
        ("layers.fc7.weight", True),
        ("conv6.weight", False),
        ("classifier.fc6.weight", False),
        ("fc66.weight", False),
        ("fc6.weight_v", False),
    ],
)
def test_names(name: str, expected: bool) -> None:
    assert is_head_tensor(name) is expected
