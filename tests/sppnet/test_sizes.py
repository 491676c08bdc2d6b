"""Sizes: one order of width and height, whatever they are taken from."""

from __future__ import annotations

import numpy as np
import torch

from sppnet.sizes import Size


def test_a_size_of_an_array_or_tensor_is_width_then_height() -> None:
    for array in (np.zeros((3, 4)), np.zeros((3, 4, 7)), torch.zeros(3, 4, 7)):
        size = Size.of(array)
        assert size == Size(width=4, height=3) == (4, 3)
        assert (type(size.width), type(size.height)) == (int, int)


def test_parts_of_a_size() -> None:
    size = Size(500, 375)
    assert (size.hw, size.short_side, str(size)) == ((375, 500), 375, "500 x 375")
    assert Size.square(13) == Size(13, 13)
