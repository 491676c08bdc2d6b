"""Layers on rows: equal to torch's layers on whole maps."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sppnet.networks import row_layers
from sppnet.networks.norms import ResponseNorm, WithinChannelNorm
from sppnet.networks.row_layers import AcrossChannels, Convolution, MaxPooling, Pointwise, WithinChannel
from sppnet.networks.row_strips import Rows


def drawn(images: int = 1) -> torch.Tensor:
    values = torch.randn(images, 8, 12, 10, generator=torch.Generator().manual_seed(0))
    return values.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    ("ceiling", "plain"), [(None, lambda x: x), (float("inf"), F.relu), (1.0, lambda x: x.clamp(0, 1))]
)
@pytest.mark.parametrize("module", [
    nn.Conv2d(8, 16, 3, padding=1), nn.Conv2d(8, 6, (3, 5), (2, 1), (1, 2)),
    nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8),
])  # fmt: skip
def test_convolution(module: nn.Conv2d, ceiling: float | None, plain, fused: bool, monkeypatch) -> None:
    if not fused:
        monkeypatch.setattr(row_layers, "has_fused_convolutions", lambda dtype: False)
    layer = Convolution(module.weight, module.bias, module, ceiling, torch.float32)
    values, window = drawn(), layer.window
    with torch.inference_mode():
        whole = plain(module(values))
        assert layer.channels == whole.shape[1]
        found = layer([Rows([values], window.padding, window.padding)])
        torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-6)
        # The first rows, of which some lie above the map, in two pieces.
        count = window.begun(9)
        used = (count - 1) * window.stride + window.kernel - window.padding
        top = layer([Rows([values[:, :, :4], values[:, :, 4:used]], window.padding, 0)])
        torch.testing.assert_close(top, whole[:, :, :count], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("images", [1, 3])
def test_pooling_and_norms_take_batches(images: int) -> None:
    values = F.relu(drawn(images))
    layers = (
        (MaxPooling(nn.MaxPool2d(3, 2, 1)), nn.MaxPool2d(3, 2, 1), 1),
        (AcrossChannels(ResponseNorm(8)), ResponseNorm(8), 0),
        (WithinChannel(WithinChannelNorm()), WithinChannelNorm(), 1),
        (Pointwise(torch.negative), torch.negative, 0),
    )
    for layer, plain, beyond in layers:
        found = layer([Rows([values], beyond, 0 if isinstance(layer, MaxPooling) else beyond)])
        torch.testing.assert_close(found, plain(values), rtol=1e-5, atol=1e-7)
        assert found.is_contiguous(memory_format=torch.channels_last)


def test_a_type_is_fused_where_the_cpu_has_it() -> None:
    supported = torch._C._has_mkldnn
    assert row_layers.has_fused_convolutions(torch.float32) == supported
    assert not row_layers.has_fused_convolutions(torch.bfloat16) or supported
