"""The fast form of a backbone: within rounding of the plain one, and of nothing else than the image."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

from sppnet.networks import row_strips
from sppnet.networks.backbones import Backbone, BackboneSpec, build_backbone
from sppnet.networks.inference import InferenceBackbone

SPECS = {
    "zf5": BackboneSpec("zf5", 0.125),
    "zf5_released": BackboneSpec("zf5_released", 0.125),
    "squeezenet1_0": BackboneSpec("squeezenet1_0"),
    "resnet18": BackboneSpec("torchvision:resnet18", cut="layer2"),
    "mobilenet_v2": BackboneSpec("torchvision:mobilenet_v2", cut="features.7"),
}


@cache
def made(name: str) -> Backbone:
    torch.manual_seed(0)
    backbone = build_backbone(SPECS[name]).eval()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return backbone


def drawn(height: int, width: int, seed: int = 0) -> torch.Tensor:
    values = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    return values.contiguous(memory_format=torch.channels_last)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one.float() - other.float()).norm() / other.float().norm())


@pytest.mark.parametrize("name", SPECS)
def test_maps_are_within_rounding(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_strips, "STRIP_BYTES", 1 << 15)
    backbone, images = made(name), drawn(110, 131)
    with torch.inference_mode():
        exact = backbone(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            lower = backbone(images)
    found = InferenceBackbone(backbone)(images)
    assert apart(found, exact) < 1e-5
    assert found.is_contiguous(memory_format=torch.channels_last)
    rounded = InferenceBackbone(backbone, "bfloat16")(images)
    assert rounded.dtype == torch.bfloat16
    # As near to the exact maps as torch's own bfloat16, which is 0.2 to 1 % of their norm from them.
    assert apart(rounded, exact) < 1.5 * apart(lower, exact) < 0.04
    for maps in (found, rounded):
        assert not torch.signbit(maps).any()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["zf5", "squeezenet1_0"])
def test_only_the_image_counts(name: str, precision, monkeypatch: pytest.MonkeyPatch) -> None:
    convolve = InferenceBackbone(made(name), precision)
    image, other = drawn(100, 121, 1), drawn(100, 121, 2)
    alone = convolve(image)
    for shape in ((90, 110), (121, 100)):
        convolve(drawn(*shape))
    assert torch.equal(
        convolve(torch.cat([other, image, other]).contiguous(memory_format=torch.channels_last))[1:2], alone
    )
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert torch.equal(convolve(image), alone)
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setattr(row_strips, "STRIP_BYTES", 1 << 30)
    assert apart(convolve(image), alone) < 1e-6


def test_weights_that_are_no_numbers_are_not_hidden() -> None:
    torch.manual_seed(0)
    backbone = build_backbone(BackboneSpec("zf5", 0.05)).eval()
    with torch.no_grad():
        backbone.trunk.conv2.weight[0, 0, 0, 0] = float("nan")
    for precision in ("float32", "bfloat16"):
        assert InferenceBackbone(backbone, precision)(drawn(100, 100)).isnan().any()
