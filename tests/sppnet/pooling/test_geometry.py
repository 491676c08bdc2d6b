from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sppnet.errors import ConfigError
from sppnet.pooling.geometry import GEOMETRIES, Geometry, axis_cells, trace_geometry, windows_to_cells
from tests.support.footprints import footprint
from tests.support.oracles import read_oracle


def zf_like() -> nn.Sequential:
    def conv(channels_in: int, channels: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
        return [nn.Conv2d(channels_in, channels, kernel, stride, padding), nn.ReLU()]

    return nn.Sequential(
        *conv(3, 4, 7, 2, 3), nn.LocalResponseNorm(3), nn.MaxPool2d(3, 2),
        *conv(4, 4, 5, 2, 1), nn.BatchNorm2d(4), nn.MaxPool2d(3, 2),
        *conv(4, 4, 3, 1, 1), nn.Dropout(), *conv(4, 4, 3, 1, 1), nn.Identity(), *conv(4, 5, 3, 1, 1),
    )  # fmt: skip


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
            hw = (y["map_size"], x["map_size"])
            cells = windows_to_cells(window, hw, GEOMETRIES[x["net"]], x["convention"])
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
    cells = windows_to_cells(np.empty((0, 4)), (10, 10), GEOMETRIES["zf5"])
    assert cells.shape == (0, 4)
    assert cells.dtype == np.int32


def test_errors() -> None:
    window = [[0.0, 0.0, 9.0, 9.0]]
    with pytest.raises(ConfigError, match="no released constants"):
        windows_to_cells(window, (10, 10), GEOMETRIES["convnet5"], "released")
    with pytest.raises(ConfigError, match="'caffe' is unknown"):
        windows_to_cells(window, (10, 10), GEOMETRIES["zf5"], "caffe")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one cell"):
        windows_to_cells(window, (0, 10), GEOMETRIES["zf5"])
    with pytest.raises(ValueError, match="finite"):
        windows_to_cells([[0.0, 0.0, np.nan, 9.0]], (10, 10), GEOMETRIES["zf5"])
    with pytest.raises(ValueError, match=r"shape \[n, 4\]"):
        windows_to_cells(window[0], (10, 10), GEOMETRIES["zf5"])
    with pytest.raises(ConfigError, match="stride of at least 1"):
        Geometry(139, 0, 55)


def test_traced_zf_is_the_papers_and_its_gradient_footprint() -> None:
    trunk = zf_like()
    geometry = trace_geometry(trunk)
    assert geometry == Geometry(139, 16, 55)
    for cell in (8, 9):
        start = cell * geometry.stride - geometry.padding
        assert footprint(trunk, (300, 300), cell) == (start, start + geometry.receptive_field)


def test_traced_squeezenet_is_its_gradient_footprint() -> None:
    from torchvision.models import squeezenet1_0

    trunk = squeezenet1_0(weights=None).features[:13]
    geometry = trace_geometry(trunk)
    assert geometry.stride == 16
    start = 8 * 16 - geometry.padding
    assert footprint(trunk, (280, 280), 8) == (start, start + geometry.receptive_field)


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn", "alexnet"])
def test_traced_torchvision_trunks_have_their_known_receptive_fields(name: str) -> None:
    from torchvision import models

    with torch.device("meta"):
        model = getattr(models, name)(weights=None)
    trunk = nn.Sequential(*list(model.children())[:-2]) if name == "resnet18" else model.features
    known = {"resnet18": (435, 32), "vgg11_bn": (150, 32), "alexnet": (195, 32)}
    geometry = trace_geometry(trunk)
    assert (geometry.receptive_field, geometry.stride) == known[name]


def test_trace_honours_dilation_and_subclasses() -> None:
    class Norm(nn.LocalResponseNorm):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.conv2d(x, torch.ones(3, 3, 1, 1))

    class Own(nn.Module):
        keeps_geometry = True

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.avg_pool2d(x, 3, 1, 1)

    trunk = nn.Sequential(Norm(3), nn.Conv2d(3, 3, 3, stride=2, padding=4, dilation=3), Own(), nn.Conv2d(3, 3, 3))
    assert trace_geometry(trunk) == Geometry(7 + 2 * 2, 2, 4)


class Branches(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 3, 1, stride=stride)
        self.right = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.left(x) + self.right(x)


def test_branches_join_to_their_union() -> None:
    assert trace_geometry(Branches(1)) == Geometry(3, 1, 1)
    with pytest.raises(ConfigError, match="strides"):
        trace_geometry(Branches(2))


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (nn.AdaptiveAvgPool2d(1), "layer '1': no geometry is known for AdaptiveAvgPool2d"),
        (nn.Flatten(), "layer '1': no geometry is known for Flatten"),
        (nn.AdaptiveMaxPool2d(2), "layer '1': no geometry is known for AdaptiveMaxPool2d"),
        (nn.Conv2d(3, 3, (3, 5)), "layer '1': a kernel_size"),
        (nn.Conv2d(3, 3, 3, padding="same"), "layer '1': a padding"),
    ],
)
def test_unknown_layers_are_named(layer: nn.Module, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        trace_geometry(nn.Sequential(nn.ReLU(), layer))


def test_unknown_functions_and_untraceable_trunks_are_named() -> None:
    class Functional(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.interpolate(x, scale_factor=2)

    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    class ChannelsLast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))
            self.block = nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 3), nn.GELU())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.permute(self.block(x.permute(0, 2, 3, 1)) * (self.scale + 1), (0, 3, 1, 2))

    assert trace_geometry(nn.Sequential(nn.Conv2d(3, 3, 4, 4), ChannelsLast())) == Geometry(4, 4, 0)
    with pytest.raises(ConfigError, match="layer 'interpolate'"):
        trace_geometry(Functional())
    with pytest.raises(ConfigError, match="can't trace Branching"):
        trace_geometry(Branching())
