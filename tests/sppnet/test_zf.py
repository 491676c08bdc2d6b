from __future__ import annotations

import pytest
import torch
from torch import nn

from sppnet.geometry import trace_geometry
from sppnet.zf import ResponseNorm, build_zf5, zf_channels


def test_channels_are_multiples_of_eight() -> None:
    assert zf_channels(1.0) == (96, 256, 384, 384, 256)
    assert zf_channels(0.25) == (24, 64, 96, 96, 64)
    assert zf_channels(0.01) == (8, 8, 8, 8, 8)
    assert zf_channels(0.3) == (32, 80, 112, 112, 80)


@pytest.mark.parametrize("channels", [3, 8, 24])
@pytest.mark.parametrize("size", [3, 4, 5])
def test_response_norm_is_torchs(channels: int, size: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, channels, 5, 4, dtype=torch.float64) * 300
    ours = ResponseNorm(channels, size).double()(x)
    torch.testing.assert_close(ours, nn.LocalResponseNorm(size)(x), rtol=1e-12, atol=1e-12)
    assert (ours - x).abs().max() > 100  # the norm does something at this magnitude


def test_response_norm_in_half_precision_does_not_overflow() -> None:
    x = torch.full((1, 8, 2, 2), 3000.0)
    exact = nn.LocalResponseNorm(5)(x)
    for dtype in (torch.float16, torch.bfloat16):
        ours = ResponseNorm(8).to(dtype)(x.to(dtype)).float()
        torch.testing.assert_close(ours, exact, rtol=0.02, atol=0)


def test_response_norm_gradient_is_torchs() -> None:
    torch.manual_seed(1)
    x = (torch.randn(1, 8, 3, 3, dtype=torch.float64) * 100).requires_grad_()
    weight = torch.randn(1, 8, 3, 3, dtype=torch.float64)
    (ours,) = torch.autograd.grad((ResponseNorm(8).double()(x) * weight).sum(), x)
    (theirs,) = torch.autograd.grad((nn.LocalResponseNorm(5)(x) * weight).sum(), x)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_table_1_sizes_after_every_stage() -> None:
    trunk = build_zf5(0.01, response_norm=False)
    sizes = {}
    for side in (224, 180):
        x = torch.zeros(1, 3, side, side)
        for name, layer in trunk.named_children():
            x = layer(x)
            sizes[side, name] = x.shape[-1]
    assert [sizes[224, name] for name in ("pool1", "conv2", "pool2", "conv5")] == [55, 27, 13, 13]
    assert [sizes[180, name] for name in ("pool1", "conv2", "pool2", "conv5")] == [44, 21, 10, 10]


def test_appendix_geometry_with_and_without_norm() -> None:
    for norm in (True, False):
        geometry = trace_geometry(build_zf5(0.1, response_norm=norm))
        assert (geometry.receptive_field, geometry.stride, geometry.padding) == (139, 16, 55)


def test_response_norm_is_an_option_without_weights() -> None:
    with_norm, without = build_zf5(0.1), build_zf5(0.1, response_norm=False)
    assert [name for name, _ in with_norm.named_children()][:4] == ["conv1", "relu1", "norm1", "pool1"]
    assert "norm1" not in dict(without.named_children())
    assert with_norm.state_dict().keys() == without.state_dict().keys()


def test_initialisation_keeps_the_signal_and_zero_bias() -> None:
    torch.manual_seed(0)
    trunk = build_zf5(0.5, response_norm=False)
    assert all(bool((layer.bias == 0).all()) for layer in trunk if isinstance(layer, nn.Conv2d))
    x = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        for layer in trunk:
            x = layer(x)
    # He's initialisation keeps the second moment; max pooling of half-rectified values raises it.
    assert 0.3 < x.square().mean().sqrt() < 10
