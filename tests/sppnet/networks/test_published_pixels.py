from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch

from sppnet.errors import ConfigError
from sppnet.images.network_input import CAFFE_128, SQUEEZENET_CAFFE, TORCHVISION, UNIT_128, Preprocessing
from sppnet.networks.backbones import BackboneSpec
from sppnet.networks.published_pixels import (
    PublishedPixels,
    WeightFile,
    assume_pixels,
    doubt_pixels,
    entry_pixels,
    settle_pixels,
    timm_pixels,
)
from sppnet.networks.torchvision_models import InputTransform, published_weights

UNIT_RANGE = Preprocessing("rgb", (127.5,) * 3, (127.5,) * 3)
GOOGLENET = BackboneSpec("torchvision:googlenet")
OTHER = hashlib.sha256(b"other").hexdigest()


def entry(model: str, name: str = "IMAGENET1K_V1") -> PublishedPixels:
    return entry_pixels(model, published_weights(model, name))


def test_what_torchvision_says_of_its_weights() -> None:
    assert entry("resnet50") == PublishedPixels("ResNet50_Weights.IMAGENET1K_V1", TORCHVISION)
    assert entry("efficientnet_v2_l").preprocessing == UNIT_RANGE
    caffe = entry("vgg16", "IMAGENET1K_FEATURES").preprocessing  # converted from Caffe
    assert caffe.channel_order == "rgb"
    assert caffe.std == (1.0, 1.0, 1.0)
    assert caffe.mean == pytest.approx((123, 117, 104), abs=0.01)


@pytest.mark.parametrize("model", ["googlenet", "inception_v3"])
def test_networks_that_transform_their_input(model: str) -> None:
    published = entry(model)
    assert (published.preprocessing, published.transform_input) == (TORCHVISION, True)
    pixels = torch.randint(0, 256, (1, 3, 4, 4)).float()
    mean, std = (torch.tensor(values)[:, None, None] for values in (TORCHVISION.mean, TORCHVISION.std))
    assert published.altogether() == UNIT_RANGE
    torch.testing.assert_close(InputTransform()((pixels - mean) / std), (pixels - 127.5) / 127.5, atol=1e-5, rtol=0)


def test_a_file_is_known_by_its_digest_and_misnamed_by_its_name() -> None:
    file = WeightFile("/data/mine.pth", "b66bff10" + OTHER[8:], torch_format=True)
    assert file.published() == entry("squeezenet1_0")
    assert file.misnamed() == ""
    other = WeightFile("/data/squeezenet1_0-b66bff10.pth", OTHER, torch_format=True)
    assert other.published() is None
    assert other.misnamed().startswith("it has the name of SqueezeNet1_0_Weights.IMAGENET1K_V1 and another content")


@pytest.mark.parametrize(
    ("spec", "stated", "published", "expected"),
    [
        (GOOGLENET, False, entry("googlenet"), (TORCHVISION, True)),
        (replace(GOOGLENET, preprocessing=TORCHVISION), True, entry("googlenet"), (TORCHVISION, True)),
        (replace(GOOGLENET, preprocessing=UNIT_RANGE), True, entry("googlenet"), (UNIT_RANGE, False)),
        (BackboneSpec("torchvision:efficientnet_v2_l"), False, entry("efficientnet_v2_l"), (UNIT_RANGE, False)),
        (BackboneSpec("zf5"), False, PublishedPixels("itself", CAFFE_128, own=True), (CAFFE_128, False)),
    ],
)  # fmt: skip
def test_pixels_that_the_publisher_tells(
    spec: BackboneSpec, stated: bool, published: PublishedPixels, expected: tuple[Preprocessing, bool]
) -> None:
    settled, warning = settle_pixels(spec, published, "w", stated=stated)
    assert ((settled.preprocessing, settled.transform_input), warning) == (expected, "")
    assert (settled.architecture, settled.cut) == (spec.architecture, spec.cut)


def test_other_pixels_than_published_are_warned_of_if_stated_and_refused_by_name() -> None:
    stated = BackboneSpec("torchvision:squeezenet1_0", preprocessing=SQUEEZENET_CAFFE)
    settled, warning = settle_pixels(stated, entry("squeezenet1_0"), "w.pth", stated=True)
    assert settled == stated
    assert warning == (
        "w.pth: SqueezeNet1_0_Weights.IMAGENET1K_V1 wants pixels as RGB minus (123.675, 116.28, 103.53) over "
        "(58.395, 57.12, 57.375); the config's preprocessing makes them BGR minus (104, 117, 123) over (1, 1, 1)"
    )
    named = "architecture squeezenet1_0 means BGR minus .*: name torchvision:<name> as the architecture, or state"
    with pytest.raises(ConfigError, match=named):
        settle_pixels(BackboneSpec("squeezenet1_0"), entry("squeezenet1_0"), "w.pth", stated=False)
    rounded = Preprocessing("rgb", (123.68, 116.28, 103.53), (58.4, 57.12, 57.38))
    mine = BackboneSpec("torchvision:resnet18", preprocessing=rounded)
    assert settle_pixels(mine, entry("resnet18"), "w", stated=True) == (mine, "")


@pytest.mark.parametrize(
    ("architecture", "torch_format", "answer"),
    [
        ("torchvision:resnet18", True, "taken as torchvision:resnet18's: RGB minus .123.675"),
        ("zf5", False, "taken as zf5's: BGR minus .128, 128, 128. over .64"),
        ("squeezenet1_0", False, "taken as squeezenet1_0's: BGR minus .104, 117, 123"),
        ("squeezenet1_0", True, None),
        ("zf5_released", False, None),
        ("torchvision:googlenet", True, None),
        ("torchvision:efficientnet_v2_l", True, None),
        ("torchvision:vgg16", True, None),
    ],
)
def test_weights_that_nobody_knows(architecture: str, torch_format: bool, answer: str | None) -> None:
    file = WeightFile("w.pth", OTHER, torch_format)
    if answer is None:
        with pytest.raises(
            ConfigError, match=f"{architecture}'s weights are not all alike .*: state `preprocessing`; torch"
        ):
            assume_pixels(BackboneSpec(architecture), file)
    else:
        assert re.search(answer, assume_pixels(BackboneSpec(architecture), file))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"architecture": "resnet18", "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}, UNIT_RANGE),
        ({"default_cfg": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}, TORCHVISION),
        ({"mean": [0.5] * 3, "std": [0.5] * 3}, UNIT_RANGE),
        ({"model_type": "resnet"}, None),
    ],
)
def test_what_timm_says(config: dict[str, Any], expected: Preprocessing | None) -> None:
    found = timm_pixels(config, "config.json")
    assert (found and found.preprocessing) == expected
    for wrong in ([0.5], "x", [0.5, 0.5, None], [0.5, 0.5, float("nan")]):
        with pytest.raises(ConfigError, match=r"config.json: its mean and std are not three numbers each"):
            timm_pixels({"mean": wrong, "std": [0.5] * 3}, "config.json")


@pytest.mark.parametrize(
    ("order", "mean", "doubted"),
    [
        ("rgb", (123.675, 116.28, 103.53), False),
        ("bgr", (123.675, 116.28, 103.53), True),
        ("bgr", (104.0, 117.0, 123.0), False),
        ("rgb", (103.939, 116.779, 123.68), True),
        ("rgb", (127.5, 127.5, 127.5), False),
    ],
)
def test_a_mean_in_the_order_of_the_other_channels(
    order: Literal["rgb", "bgr"], mean: tuple[float, float, float], doubted: bool
) -> None:
    warning = doubt_pixels(Preprocessing(order, mean))
    assert warning.startswith(f"preprocessing: {order.upper()} minus (") if doubted else warning == ""


def test_a_network_of_our_own() -> None:
    assert PublishedPixels.of_network(BackboneSpec("zf5")).preprocessing == UNIT_128
