from __future__ import annotations

import pytest
import torch
from torch import nn

from sppnet.networks.norms import ResponseNorm, WithinChannelNorm


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


def test_within_channel_norm_is_caffes_formula() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64) * 300
    ours = WithinChannelNorm().double()(x)
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    for channel, row, column in [(0, 0, 0), (1, 2, 3), (2, 3, 4), (1, 0, 2)]:
        mean = padded[1, channel, row : row + 3, column : column + 3].square().sum() / 9
        expected = x[1, channel, row, column] * (1 + 5e-5 * mean) ** -0.75
        torch.testing.assert_close(ours[1, channel, row, column], expected)
    assert (ours - x).abs().max() > 100
    other = WithinChannelNorm(5, 1e-4, 0.5).double()(x[:, :, :1, :1])
    torch.testing.assert_close(other, x[:, :, :1, :1] * (1 + 1e-4 * x[:, :, :1, :1].square() / 25) ** -0.5)


def test_within_channel_norm_in_half_precision_does_not_overflow() -> None:
    x = torch.full((1, 2, 3, 3), 3000.0)
    exact = WithinChannelNorm()(x)
    for dtype in (torch.float16, torch.bfloat16):
        torch.testing.assert_close(WithinChannelNorm()(x.to(dtype)).float(), exact, rtol=0.02, atol=0)
