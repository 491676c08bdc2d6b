"""How many outputs a layer has of so many cells: as many as torch's."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sppnet.networks.layer_windows import Window, axis_window
from sppnet.networks.timm_layers import SameConvolution


@given(
    cells=st.integers(7, 40), kernel=st.integers(1, 5), stride=st.integers(1, 4), padding=st.integers(0, 2),
    ceil=st.booleans(),
)  # fmt: skip
def test_poolings_have_torchs_outputs(cells: int, kernel: int, stride: int, padding: int, ceil: bool) -> None:
    module = nn.MaxPool2d(kernel, stride, min(padding, kernel // 2), ceil_mode=ceil)
    found = axis_window(module, 0)
    assert found.outputs(cells) == module(torch.zeros(1, 1, cells, 9)).shape[2]


@given(cells=st.integers(20, 40), padding=st.tuples(st.integers(0, 3), st.integers(0, 3)), dilation=st.integers(1, 3))
def test_convolutions_have_torchs_outputs_along_each_axis(cells: int, padding: tuple[int, int], dilation: int) -> None:
    module = nn.Conv2d(1, 1, (3, 5), (2, 1), padding, dilation)
    height, width = module(torch.zeros(1, 1, cells, cells)).shape[2:]
    assert axis_window(module, 0).outputs(cells) == height
    assert axis_window(module, 1).outputs(cells) == width


def test_a_convolution_padded_unlike_before_and_behind() -> None:
    module = SameConvolution(nn.Conv2d(1, 1, 3, 2))
    assert axis_window(module, 0) == Window(3, 2, 0, behind=2)
    assert [axis_window(module, 0).outputs(cells) for cells in (8, 9)] == [4, 5]
