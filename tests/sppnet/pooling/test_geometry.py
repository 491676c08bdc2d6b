"""Windows to cells, against the exact vectors and Appendix A in rational arithmetic."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sppnet.errors import ConfigError
from sppnet.pooling.geometry import GEOMETRIES, Geometry, axis_cells, windows_to_cells
from sppnet.sizes import Size
from tests.support.oracles import read_oracle


def test_axis_cells_equal_every_vector_of_both_conventions() -> None:
    rows = read_oracle("window_to_cells")
    assert {row["convention"] for row in rows} == {"paper", "released"}
    wrong = [
        row
        for row in rows
        if axis_cells(
            row["lo"], row["hi"], row["map_size"], GEOMETRIES[row["net"]], row["convention"]
        ).tolist() != row["cells"]
    ]  # fmt: skip
    assert not wrong


def test_windows_to_cells_equal_every_vector() -> None:
    rows = read_oracle("window_to_cells")
    for x, y in itertools.pairwise(rows):
        if (x["net"], x["convention"]) == (y["net"], y["convention"]):
            window = [[x["lo"], y["lo"], x["hi"], y["hi"]]]
            size = Size(x["map_size"], y["map_size"])
            cells = windows_to_cells(window, size, GEOMETRIES[x["net"]], x["convention"])
            (cx0, cx1), (cy0, cy1) = x["cells"], y["cells"]
            assert cells.tolist() == [[cx0, cy0, cx1, cy1]]
            assert cells.dtype == np.int32


pixels = st.integers(-4000, 24000).map(lambda eighth: Fraction(eighth, 8))


@given(
    pixels, st.integers(0, 12000).map(lambda eighth: Fraction(eighth, 8)), st.integers(1, 150),
    st.sampled_from(sorted(GEOMETRIES)),
)  # fmt: skip
def test_paper_rule_equals_appendix_a_in_exact_arithmetic(
    lo: Fraction, side: Fraction, map_size: int, net: str
) -> None:
    geometry = GEOMETRIES[net]
    rf, stride = Fraction(geometry.receptive_field), geometry.stride
    a = geometry.padding + Fraction(stride, 2)
    b = rf - 1 - geometry.padding - Fraction(stride, 2)
    left = math.floor((lo + 1 - rf / 2 + a) / stride) + 1  # 1-based inclusive pixels and cells
    right = math.ceil((lo + side + rf / 2 - b) / stride) - 1
    if left > right:
        left = right = int(Fraction(left + right, 2))
    expected = [min(max(left, 1), map_size) - 1, min(max(right, 1), map_size)]
    assert axis_cells(float(lo), float(lo + side), map_size, geometry).tolist() == expected


@given(pixels, pixels, st.integers(1, 150), st.sampled_from(["paper", "released"]))
def test_every_window_covers_a_cell_inside_the_map(lo: Fraction, hi: Fraction, size: int, convention: str) -> None:
    first, stop = axis_cells(float(min(lo, hi)), float(max(lo, hi)), size, GEOMETRIES["zf5"], convention)
    assert 0 <= first < stop <= size


def test_appendix_a_offsets_of_zf5() -> None:
    geometry = GEOMETRIES["zf5"]
    assert geometry.shift == 63 - 139 / 2 + 1 == 139 / 2 - 75


def test_no_windows() -> None:
    cells = windows_to_cells(np.empty((0, 4)), Size(10, 10), GEOMETRIES["zf5"])
    assert cells.shape == (0, 4)
    assert cells.dtype == np.int32


def test_errors() -> None:
    window = [[0.0, 0.0, 9.0, 9.0]]
    with pytest.raises(ConfigError, match="no released constants"):
        windows_to_cells(window, Size(10, 10), GEOMETRIES["convnet5"], "released")
    with pytest.raises(ConfigError, match="'caffe' is unknown"):
        windows_to_cells(window, Size(10, 10), GEOMETRIES["zf5"], "caffe")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one cell"):
        windows_to_cells(window, Size(10, 0), GEOMETRIES["zf5"])
    with pytest.raises(ValueError, match="finite"):
        windows_to_cells([[0.0, 0.0, np.nan, 9.0]], Size(10, 10), GEOMETRIES["zf5"])
    with pytest.raises(ValueError, match=r"shape \[n, 4\]"):
        windows_to_cells(window[0], Size(10, 10), GEOMETRIES["zf5"])
    with pytest.raises(ConfigError, match="stride of at least 1"):
        Geometry(139, 0, 55)
