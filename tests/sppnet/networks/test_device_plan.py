"""Networks as they run on a GPU, here on the CPU: their values, and that a margin changes none of them."""

from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from sppnet.networks import device_layers, device_plan
from sppnet.networks.backbones import Backbone, BackboneSpec, build_backbone
from sppnet.networks.device_layers import DeviceStem
from sppnet.networks.device_plan import DevicePlan, plan_device
from sppnet.sizes import Size
from tests.support.triton_interpreter import interpreted

NETWORKS = {
    "zf5": BackboneSpec("zf5", width=0.125),
    "zf5_released": BackboneSpec("zf5_released", width=0.125),
    "convnet5": BackboneSpec("convnet5", width=0.125),
    "overfeat7": BackboneSpec("overfeat7", width=0.125),
    "squeezenet": BackboneSpec("squeezenet1_0"),
    "resnet": BackboneSpec("torchvision:resnet18", cut="layer2"),
    "mobilenet": BackboneSpec("torchvision:mobilenet_v2", cut="features.6"),
    "mobilenet3": BackboneSpec("torchvision:mobilenet_v3_small", cut="features.3"),
}


def build(name: str) -> tuple[Backbone, DevicePlan]:
    torch.manual_seed(0)
    backbone = build_backbone(NETWORKS[name]).eval()
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.uniform_(module.bias, 0.1, 0.3)  # what lies beyond a map would be seen
    plan = plan_device(backbone.trunk, torch.float32)
    assert plan is not None
    return backbone, plan


def run(plan: DevicePlan, images: torch.Tensor, size: Size, right: int = 0, below: int = 0) -> torch.Tensor:
    grown = F.pad(images, (0, right, 0, below, 0, plan.channels - 3)).contiguous(memory_format=torch.channels_last)
    layout = plan.layout(size)
    height, width = layout.sizes[-1].hw
    return plan(grown, layout)[:, :, :height, :width]


@pytest.mark.parametrize("name", NETWORKS)
def test_computes_what_the_backbone_does(name: str) -> None:
    backbone, plan = build(name)
    images = torch.randn(2, 3, 109, 141)
    with torch.inference_mode():
        found, wanted = run(plan, images, Size(141, 109)), backbone(images)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.max()))
    assert not torch.signbit(found).any()
    assert plan.channels == 8


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=12)
@given(height=st.integers(97, 130), width=st.integers(97, 130), right=st.integers(0, 40), below=st.integers(0, 40))
def test_a_margin_changes_nothing(name: str, height: int, width: int, right: int, below: int) -> None:
    backbone, plan = build(name)
    images = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(height * width))
    size = Size(width, height)
    if not plan.fits_margins:
        assert "mobilenet3" in name
        return
    with torch.inference_mode():
        found, wanted = run(plan, images, size, right, below), backbone(images)
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.max()))


def test_layers_are_fused() -> None:
    _, plan = build("overfeat7")
    names = [type(step.layer).__name__.removeprefix("Device") for step in plan._layers.steps]
    assert names == ["Convolution", "Pooling", "Pointwise", "Convolution", "Pooling", *["Convolution"] * 5]


class TwoOfTheImage(nn.Module):
    def __init__(self, groups: int) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 6, 3), nn.Conv2d(3, 6, 3, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.one(x).relu(), self.other(x).relu()], 1)


@pytest.mark.parametrize(("groups", "channels"), [(1, 8), (3, 3)])
def test_all_convolutions_of_the_image_take_as_many_channels(groups: int, channels: int) -> None:
    network = TwoOfTheImage(groups).eval()
    plan = plan_device(network, torch.float32)
    assert plan is not None
    assert plan.channels == channels
    images = torch.randn(1, 3, 11, 12)
    with torch.inference_mode():
        torch.testing.assert_close(run(plan, images, Size(12, 11)), network(images))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_gpus_kernels_in_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's plan on the CPU, its kernels interpreted (which multiplies no bfloat16); the image has a margin."""
    for module in ("stem_triton", "pooling_triton"):
        monkeypatch.setitem(sys.modules, f"sppnet.networks.{module}", interpreted(f"sppnet.networks.{module}"))
    for where in (device_layers, device_plan):
        monkeypatch.setattr(where, "runs_triton", lambda _: True)
    backbone = build("zf5")[0]
    plan = plan_device(backbone.trunk, torch.float16)
    assert plan is not None
    assert plan.channels == 4
    assert type(plan._layers.steps[0].layer) is DeviceStem
    images = torch.randn(1, 3, 51, 55, generator=torch.Generator().manual_seed(0)).half()
    size = Size(55, 51)
    found = run(plan, images, size, 9, 6)
    with torch.inference_mode():
        wanted = backbone(images.float())
    assert found.shape == wanted.shape
    torch.testing.assert_close(found.float(), wanted, rtol=0, atol=0.01 * float(wanted.max()))
    margin = plan(F.pad(images, (0, 9, 0, 6, 0, 1)).contiguous(memory_format=torch.channels_last), plan.layout(size))
    assert torch.equal(margin[:, :, : found.shape[2], : found.shape[3]], found)


def test_what_is_not_known_or_not_finite_is_left_to_torch() -> None:
    assert plan_device(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softmax(1)).eval(), torch.float32) is None
    broken = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    nn.init.constant_(broken[0].bias, float("nan"))  # type: ignore[arg-type]
    assert plan_device(broken, torch.float32) is None
