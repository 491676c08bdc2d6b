"""Traced geometries against the paper's constants and against the footprint of the gradient."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sppnet.errors import ConfigError
from sppnet.networks.receptive_fields import trace_geometry
from sppnet.pooling.geometry import Geometry
from tests.support.footprints import footprint


def zf_like() -> nn.Sequential:
    def conv(channels_in: int, channels: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
        return [nn.Conv2d(channels_in, channels, kernel, stride, padding), nn.ReLU()]

    return nn.Sequential(
        *conv(3, 4, 7, 2, 3), nn.LocalResponseNorm(3), nn.MaxPool2d(3, 2),
        *conv(4, 4, 5, 2, 1), nn.BatchNorm2d(4), nn.MaxPool2d(3, 2),
        *conv(4, 4, 3, 1, 1), nn.Dropout(), *conv(4, 4, 3, 1, 1), nn.Identity(), *conv(4, 5, 3, 1, 1),
    )  # fmt: skip


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


class Sides(nn.Module):
    """Poolings that are called as functions, and kernels of two shapes that end up square."""

    def __init__(self) -> None:
        super().__init__()
        self.lying, self.standing = nn.Conv2d(3, 2, (1, 7), padding=(0, 3)), nn.Conv2d(3, 2, (7, 1), padding=(3, 0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.avg_pool2d(x, kernel_size=3, stride=1, padding=1)
        return nn.functional.max_pool2d(self.lying(x) + self.standing(x), 1, 2)


def test_kernels_that_are_longer_than_wide_and_pooling_functions() -> None:
    trunk = Sides()
    assert trace_geometry(trunk) == Geometry(3 + 6, 2, 1 + 3)
    assert footprint(trunk, (60, 60), 8) == (16 - 4, 16 - 4 + 9)


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (nn.AdaptiveAvgPool2d(1), "layer '1': no geometry is known for AdaptiveAvgPool2d"),
        (nn.Flatten(), "layer '1': no geometry is known for Flatten"),
        (nn.AdaptiveMaxPool2d(2), "layer '1': no geometry is known for AdaptiveMaxPool2d"),
        (nn.Conv2d(3, 3, (3, 5)), "cells are not square: 3 x 5 pixels"),
        (nn.Conv2d(3, 3, 3, padding="same"), "layer '1': no geometry is known for a padding of 'same'"),
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
