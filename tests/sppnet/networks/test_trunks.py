from __future__ import annotations

import pytest
import torch
from torch import nn

from sppnet.errors import ConfigError
from sppnet.networks.norms import ResponseNorm, WithinChannelNorm
from sppnet.networks.trunks import TRUNKS, build_trunk, widened


def channels_of(trunk: nn.Sequential) -> list[int]:
    return [layer.out_channels for layer in trunk if isinstance(layer, nn.Conv2d)]


def test_channels_are_multiples_of_eight() -> None:
    assert [widened(96, width) for width in (1.0, 0.25, 0.3, 0.01)] == [96, 24, 32, 8]
    assert channels_of(build_trunk("zf5", 0.25)) == [24, 64, 96, 96, 64]


def test_channels_of_table_1() -> None:
    with torch.device("meta"):
        found = {name: channels_of(build_trunk(name)) for name in TRUNKS}
    zf = [96, 256, 384, 384, 256]
    overfeat = [96, 256, 512, 512, 512]
    assert found == {
        "zf5": zf, "zf5_released": zf, "convnet5": zf, "overfeat5": overfeat, "overfeat7": [*overfeat, 512, 512]
    }  # fmt: skip


# reference_facts 1.5: cells after the named layers for an image of 224 and of 180 pixels.
CHAINS = {
    "zf5": ("conv1 pool1 conv2 pool2 conv5", (112, 55, 27, 13, 13), (90, 44, 21, 10, 10)),
    "zf5_released": ("conv1 pool1 conv2 pool2 conv5", (110, 55, 26, 13, 13), (88, 44, 20, 10, 10)),
    "convnet5": ("conv1 conv2 pool2 conv3 pool3 conv5", (55, 55, 27, 27, 13, 13), (44, 44, 21, 21, 10, 10)),
    "overfeat5": ("conv1 pool1 conv2 pool2 conv5", (109, 36, 36, 18, 18), (87, 29, 29, 14, 14)),
    "overfeat7": ("conv1 pool1 conv2 pool2 conv7", (109, 36, 36, 18, 18), (87, 29, 29, 14, 14)),
}


@pytest.mark.parametrize("name", TRUNKS)
def test_sizes_after_every_stage(name: str) -> None:
    layers, at_224, at_180 = CHAINS[name]
    with torch.device("meta"):
        trunk = build_trunk(name, 0.01)
        for side, expected in ((224, at_224), (180, at_180)):
            sizes, x = {}, torch.zeros(1, 3, side, side)
            for layer, module in trunk.named_children():
                x = module(x)
                sizes[layer] = x.shape[-1]
            assert tuple(sizes[layer] for layer in layers.split()) == expected


def test_the_release_s_map_sizes_at_its_scales() -> None:
    """reference_facts 1.2: conv5 by input side in Caffe's arithmetic."""
    known = {227: 13, 256: 15, 392: 23, 480: 29, 576: 35, 688: 42, 864: 53, 874: 53, 1200: 74}
    with torch.device("meta"):
        trunk = build_trunk("zf5_released", 0.01)
        assert {side: trunk(torch.zeros(1, 3, side, side)).shape[-1] for side in known} == known


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("zf5", "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2"),
        ("zf5_released", "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2"),
        ("convnet5", "conv1 relu1 norm1 conv2 relu2 norm2 pool2 conv3 relu3 pool3"),
        ("overfeat5", "conv1 relu1 pool1 norm1 conv2 relu2 pool2 conv3 relu3"),
    ],
)
def test_order_of_layers(name: str, order: str) -> None:
    layers = dict(build_trunk(name, 0.05).named_children())
    assert list(layers)[: len(order.split())] == order.split()
    assert isinstance(layers["norm1"], WithinChannelNorm if name == "zf5_released" else ResponseNorm)


def test_response_norm_is_an_option_without_weights() -> None:
    with_norm, without = build_trunk("overfeat5", 0.1), build_trunk("overfeat5", 0.1, response_norm=False)
    assert "norm1" not in dict(without.named_children())
    assert with_norm.state_dict().keys() == without.state_dict().keys()


def test_initialisation_keeps_the_signal_and_zero_bias() -> None:
    torch.manual_seed(0)
    trunk = build_trunk("zf5", 0.5, response_norm=False)
    assert all(bool((layer.bias == 0).all()) for layer in trunk if isinstance(layer, nn.Conv2d))
    x = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        for layer in trunk:
            x = layer(x)
    # He's initialisation keeps the second moment; max pooling of half-rectified values raises it.
    assert 0.3 < x.square().mean().sqrt() < 10


def test_unknown_name() -> None:
    with pytest.raises(ConfigError, match="'zf6' is unknown, one of zf5, zf5_released"):
        build_trunk("zf6")
