"""Layers on maps that lie in larger ones, here on the CPU: what they look at, and what they say of their margins."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sppnet.networks.device_layers import (
    DeviceConvolution,
    DeviceLayer,
    DevicePointwise,
    DevicePooling,
    DeviceStem,
    DeviceWithinChannel,
    Extent,
    Padded,
)
from sppnet.networks.norms import WithinChannelNorm
from sppnet.networks.timm_layers import SameConvolution
from sppnet.sizes import Size

SIZE = Size(11, 9)


def padded(channels: int = 4, *, clean: bool = False) -> Padded:
    values = torch.rand(2, channels, 12, 17, generator=torch.Generator().manual_seed(0)) + 1
    found = Padded(values.contiguous(memory_format=torch.channels_last), Extent(SIZE, None), clean=False)
    return Padded(found.cleaned(), found.extent, clean=True) if clean else found


def apply(layer: DeviceLayer, *inputs: Padded) -> Padded:
    return layer(inputs, Extent(layer.outputs(SIZE), None), margins=True)


def convolution(module: nn.Conv2d, ceiling: float | None = None) -> DeviceConvolution:
    return DeviceConvolution(module.weight, module.bias, module, ceiling, torch.float32)


def test_a_margin_is_cleared_once() -> None:
    maps = padded()
    cleaned = maps.cleaned()
    assert not cleaned[:, :, 9:].any()
    assert not cleaned[:, :, :, 11:].any()
    assert cleaned[:, :, :9, :11].all()
    assert maps.alone().shape == (2, 4, 9, 11)
    assert maps.room == Size(17, 12)
    known = Padded(torch.ones(1, 1, 3, 3), Extent(Size(2, 2), None), clean=True)
    assert known.cleaned().all()  # nothing is written where nothing is said to be


@torch.inference_mode()
@pytest.mark.parametrize("ceiling", [None, float("inf"), 6.0])
@pytest.mark.parametrize(
    "module", [nn.Conv2d(4, 5, 3, 2, 1), SameConvolution(nn.Conv2d(4, 5, 3, 2)), nn.Conv2d(4, 5, 1)]
)
def test_convolutions_see_zeros_beyond_the_map(module: nn.Conv2d, ceiling: float | None) -> None:
    maps = padded()
    expected = module(maps.alone())
    if ceiling is not None:
        expected = expected.clamp(0, ceiling)
    found = apply(convolution(module, ceiling), maps)
    torch.testing.assert_close(found.alone(), expected)
    assert not found.clean


@torch.inference_mode()
def test_a_convolution_ignores_further_channels() -> None:
    module = nn.Conv2d(4, 5, 3, 1, 1)
    layer, maps = convolution(module).widened(8), padded(8)
    assert layer is not None
    torch.testing.assert_close(apply(layer, maps).alone(), module(maps.alone()[:, :4]))
    assert convolution(nn.Conv2d(4, 4, 3, groups=2)).widened(8) is None
    assert convolution(nn.Conv2d(16, 4, 3)).widened(8) is None


@torch.inference_mode()
def test_poolings_and_norms_leave_zeros_in_the_margin() -> None:
    module = nn.MaxPool2d(3, 2, ceil_mode=True)
    pooled = apply(DevicePooling(module), padded())
    assert torch.equal(pooled.alone(), module(padded().alone()))
    assert pooled.clean
    assert not pooled.values[:, :, :, pooled.size.width :].any()
    norm = WithinChannelNorm()
    normed = apply(DeviceWithinChannel(norm), padded())
    torch.testing.assert_close(normed.alone(), norm(padded().alone()))
    assert not normed.values[:, :, 9:].any()


def test_functions_say_whether_zeros_stay() -> None:
    add = DevicePointwise(torch.add, whole=False, keeps_zeros=True)
    assert apply(add, padded(clean=True), padded(clean=True)).clean
    assert not apply(add, padded(clean=True), padded()).clean
    sigmoid = DevicePointwise(F.sigmoid, whole=False, keeps_zeros=False)
    found = apply(sigmoid, padded(clean=True))
    assert not found.clean
    torch.testing.assert_close(found.alone(), padded().alone().sigmoid())
    assert sigmoid((padded(),), Extent(SIZE, None), margins=False).clean
    assert not DevicePointwise(F.sigmoid, whole=True, keeps_zeros=False).fits_margins


def test_no_kernel_of_its_own_on_a_cpu() -> None:
    assert DeviceStem.of(convolution(nn.Conv2d(3, 8, 7, 2), float("inf"))) is None
