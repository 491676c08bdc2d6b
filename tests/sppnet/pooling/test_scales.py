from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sppnet.errors import ConfigError
from sppnet.pooling.scales import PAPER_SCALES, choose_scales, resized_size, scale_windows
from sppnet.sizes import Size
from tests.support.oracles import read_oracle

RELEASED_SCALES = (480, 576, 688, 874, 1200)

sides = st.integers(1, 3000)


def test_choices_equal_every_vector_of_both_conventions() -> None:
    rows = read_oracle("scale_selection")
    assert len(rows) == 600
    for row in rows:
        w, h = row["image"]
        window = [[0.0, 0.0, *row["window"]]]
        paper = choose_scales(window, Size(w, h), PAPER_SCALES)
        released = choose_scales(window, Size(w, h), RELEASED_SCALES, "released")
        assert PAPER_SCALES[paper[0]] == row["paper"], row
        assert RELEASED_SCALES[released[0]] == row["released_zf5"], row


def test_choices_are_made_per_window_in_any_order_of_scales() -> None:
    windows = np.array([[10, 20, 310, 320], [0, 0, 120, 120], [5, 5, 105, 105], [1, 1, 51, 51]], dtype=np.float32)
    chosen = choose_scales(windows, Size(500, 375), PAPER_SCALES)
    assert chosen.dtype == np.int64
    assert [PAPER_SCALES[i] for i in chosen] == [480, 688, 864, 1200]
    reverse = PAPER_SCALES[::-1]
    assert [reverse[i] for i in choose_scales(windows, Size(500, 375), reverse)] == [480, 688, 864, 1200]
    released = choose_scales(windows, Size(500, 375), RELEASED_SCALES, "released")
    assert [RELEASED_SCALES[i] for i in released] == [480, 688, 688, 1200]


def test_ties_go_to_the_smaller_scale() -> None:
    # 224 x 224 pixels at s / 5 are 224^2 s^2 / 25 pixels; 49 - 25 = 25 - 1 = 24
    assert choose_scales([[0.0, 0.0, 224.0, 224.0]], Size(5, 5), [7, 1]).tolist() == [1]
    assert choose_scales([[0.0, 0.0, 1.0, 1.0]], Size(1, 1), [218, 198], "released").tolist() == [1]  # 208 +- 10


@given(st.tuples(sides, sides), st.integers(1, 3000), st.integers(1, 3000))
def test_paper_choice_in_exact_arithmetic(image: tuple[int, int], w: int, h: int) -> None:
    short = min(image)
    exact = min(PAPER_SCALES, key=lambda s: abs(Fraction(w * h * s * s, short * short) - 224**2))
    assert PAPER_SCALES[choose_scales([[7.0, 3.0, 7.0 + w, 3.0 + h]], Size(*image), PAPER_SCALES)[0]] == exact


def test_windows_below_a_pixel_take_the_largest_scale() -> None:
    for convention in ("paper", "released"):
        chosen = choose_scales([[5.0, 5.0, 5.0, 9.0], [1.0, 1.0, 1.1, 1.1]], Size(500, 375), PAPER_SCALES, convention)
        assert chosen.tolist() == [4, 4]


@pytest.mark.parametrize(
    ("image", "scale", "expected"),
    [
        (Size(500, 375), 688, Size(917, 688)),
        (Size(375, 500), 688, Size(688, 917)),
        (Size(333, 333), 480, Size(480, 480)),
        (Size(3, 2), 3, Size(5, 3)),  # 4.5 is rounded up
        (Size(1000, 1), 1, Size(1000, 1)),
    ],
)
def test_resized_size(image: Size, scale: int, expected: Size) -> None:
    assert resized_size(image, scale) == expected


@given(sides, sides, st.integers(1, 2000))
def test_resized_short_side_is_the_scale_and_long_side_within_half_a_pixel(h: int, w: int, scale: int) -> None:
    resized = resized_size(Size(w, h), scale)
    assert min(resized) == scale
    assert abs(Fraction(max(h, w) * scale, min(h, w)) - max(resized)) <= Fraction(1, 2)


def test_paper_windows_share_one_factor() -> None:
    scaled = scale_windows([[0, 10, 375, 500]], Size(500, 375), 750)
    assert scaled.dtype == np.float64
    assert scaled.tolist() == [[0.0, 20.0, 750.0, 1000.0]]


@given(st.integers(2, 900), st.integers(1, 1200), st.integers(0, 1500), st.integers(1, 1500))
def test_released_windows_follow_the_1_based_formula(short: int, scale: int, x0: int, width: int) -> None:
    first, last = x0 + 1, x0 + width  # 1-based inclusive
    expected_first = (first - 1) * Fraction(scale - 1, short - 1) + 1
    expected_last = (last - 1) * Fraction(scale - 1, short - 1) + 1
    lo, _, hi, _ = scale_windows([[x0, 0, x0 + width, 1]], Size(2000, short), scale, "released")[0]
    assert math.isclose(lo + 1, expected_first, rel_tol=1e-12)
    assert math.isclose(hi, expected_last, rel_tol=1e-12)


def test_released_short_side_ends_on_the_scale() -> None:
    assert scale_windows([[0, 0, 500, 375]], Size(500, 375), 688, "released")[0][[1, 3]].tolist() == [0.0, 688.0]
    assert scale_windows([[0, 0, 5, 1]], Size(5, 1), 4, "released").tolist() == [[0.0, 0.0, 20.0, 4.0]]


def test_errors() -> None:
    window = [[0.0, 0.0, 5.0, 5.0]]
    with pytest.raises(ConfigError, match="no scales"):
        choose_scales(window, Size(10, 10), [])
    with pytest.raises(ConfigError, match="unknown"):
        choose_scales(window, Size(10, 10), [480], "caffe")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unknown"):
        scale_windows(window, Size(10, 10), 480, "caffe")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shape"):
        choose_scales([0.0, 0.0, 5.0, 5.0], Size(10, 10), [480])
    with pytest.raises(ValueError, match="finite"):
        scale_windows([[0.0, 0.0, np.inf, 5.0]], Size(10, 10), 480)
    with pytest.raises(ValueError, match="resized"):
        resized_size(Size(5, 0), 480)
    with pytest.raises(ValueError, match="resized"):
        scale_windows(window, Size(10, 10), 0)
