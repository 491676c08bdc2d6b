"""The names of networks, and what each means."""

from __future__ import annotations

import pytest
import torch

from sppnet.errors import ConfigError
from sppnet.images.network_input import SQUEEZENET_CAFFE, TORCHVISION, UNIT_128
from sppnet.networks.architectures import ARCHITECTURES, architecture


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("zf6", "unknown 'zf6'.*torchvision:<name>, timm:<name>.*did you mean 'zf5'"),
        ("torchvision:resnet5", "no classifier 'resnet5', did you mean 'resnet"),
        ("timm:tf_efficientnet_lite", "did you mean 'tf_efficientnet_lite"),
        ("somewhere:factory", "somewhere:factory"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        architecture(name)


@pytest.mark.parametrize("name", [*ARCHITECTURES, "torchvision:alexnet", "timm:tf_efficientnet_lite0"])
def test_the_default_cut_is_a_module_of_what_is_built(name: str) -> None:
    kind = architecture(name)
    with torch.device("meta"):
        network = kind.build(0.1, True)
    assert kind.cut in dict(network.named_modules())


def test_width_and_response_norm_reach_the_networks_of_table_1_only() -> None:
    def layers(name: str, width: float, norm: bool) -> list[tuple[str, tuple[int, ...]]]:
        with torch.device("meta"):
            network = ARCHITECTURES[name].build(width, norm)
        weights = [(type(layer).__name__, getattr(layer, "weight", None)) for layer in network.modules()]
        return [(kind, () if weight is None else tuple(weight.shape)) for kind, weight in weights]

    plain, narrow, without = layers("zf5", 1.0, True), layers("zf5", 0.5, True), layers("zf5", 1.0, False)
    assert ("Conv2d", (96, 3, 7, 7)) in plain
    assert ("Conv2d", (48, 3, 7, 7)) in narrow
    assert len(without) == len(plain) - 2  # one norm after conv1 and one after conv2
    assert layers("squeezenet1_0", 0.5, False) == layers("squeezenet1_0", 1.0, True)


def test_pixels_are_the_publishers() -> None:
    assert architecture("zf5").preprocessing == UNIT_128
    assert architecture("squeezenet1_0").preprocessing == SQUEEZENET_CAFFE
    assert architecture("torchvision:vgg16").preprocessing == TORCHVISION
    assert [name for name in ("googlenet", "vgg16") if architecture(f"torchvision:{name}").transforms_input] == [
        "googlenet"
    ]
