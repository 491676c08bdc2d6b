"""Rows in steps of a byte: the nearest of 255 steps of each row, with vector instructions and without."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipelines.artifacts import stepped_rows
from pipelines.artifacts.stepped_rows import from_steps, to_steps

FINITE = st.integers(0, 0x7BFF) | st.just(0x8000)  # bits of numbers that are not negative, and of minus zero


def rounded(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same in plain numpy."""
    values = np.abs(rows.astype(np.float32))
    steps = values.max(axis=1) / np.float32(255)
    divisors = np.where(steps > 0, steps, np.float32(1))[:, None]
    return (values / divisors + np.float32(0.5)).astype(np.uint8), steps


@settings(max_examples=60)
@given(st.data(), st.sampled_from([1, 15, 16, 48]), st.booleans())
def test_equals_plain_numpy(data: st.DataObject, width: int, kernel: bool) -> None:
    bits = data.draw(hnp.arrays(np.uint16, (4, width), elements=FINITE, fill=st.just(0)))
    chosen = np.array(data.draw(st.lists(st.integers(0, 3), max_size=6)), np.int64)
    with patch.object(stepped_rows, "has_kernel", stepped_rows.has_kernel if kernel else lambda: False):
        found, steps = to_steps(bits.view(np.float16), chosen)
        back = from_steps(found, steps)
        whole = to_steps(bits.view(np.float16))
    expected, sizes = rounded(bits.view(np.float16))
    assert np.array_equal(found, expected[chosen])
    assert np.array_equal(steps, sizes[chosen])
    assert np.array_equal(whole[0], expected)
    assert np.array_equal(back, (found.astype(np.float32) * steps[:, None]).astype(np.float16))


@pytest.mark.parametrize("width", [3, 32])
def test_a_negative_number_is_refused(width: int) -> None:
    rows = np.ones((2, width), np.float16)
    rows[1, -1] = -1
    assert to_steps(rows, np.array([0]))[0].tolist() == [[255] * width]
    with pytest.raises(ValueError, match="a feature is negative"):
        to_steps(rows)
