"""Which way a network is computed on a device."""

from __future__ import annotations

import pytest
import torch

from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.device_networks import DeviceConvolutions, PlainNetwork, device_network, in_precision, settled
from sppnet.networks.device_plan import DevicePlan
from sppnet.sizes import Size


def test_known_layers_are_fused_and_others_left_to_torch() -> None:
    known = device_network(build_backbone(BackboneSpec("zf5", width=0.125)).eval(), "bfloat16")
    assert isinstance(known, DevicePlan)
    assert (known.dtype, known.channels, known.fits_margins) == (torch.bfloat16, 8, True)
    unknown = build_backbone(BackboneSpec("torchvision:densenet121", cut="features.transition1")).eval()
    plain = device_network(unknown, "float32")
    assert isinstance(plain, PlainNetwork)
    assert (plain.dtype, plain.channels, plain.fits_margins) == (torch.float32, 3, False)
    images = torch.randn(1, 3, 64, 80)
    layout = plain.layout(Size(80, 64))
    with torch.inference_mode():
        found = plain(images, layout)
        assert torch.equal(found, unknown(images))
    assert layout.sizes[-1].hw == tuple(found.shape[2:])


@pytest.mark.parametrize("size", [(64, 80), (97, 71)])
def test_images_are_taken_as_the_cpu_takes_them(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    images = torch.randn(3, 3, *size)
    fused = build_backbone(BackboneSpec("zf5", width=0.125)).eval()
    with torch.inference_mode():
        expected = fused(images)
        found = DeviceConvolutions(fused, "float32")(images)
    assert found.shape == expected.shape
    assert expected.amax() > 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    lower = DeviceConvolutions(fused, "bfloat16")
    assert lower.dtype == torch.bfloat16
    with torch.inference_mode():
        error = (lower(images.bfloat16()).float() - expected).norm() / expected.norm()
    assert 0 < error < 0.03
    plain = build_backbone(BackboneSpec("torchvision:densenet121", cut="features.transition1")).eval()
    with torch.inference_mode():
        assert torch.equal(DeviceConvolutions(plain, "float32")(images), plain(images))


def test_a_lower_precision_is_a_copy() -> None:
    backbone = build_backbone(BackboneSpec("zf5", width=0.125))
    assert in_precision(backbone, "float32") is backbone
    assert in_precision(backbone, "bfloat16").dtype == torch.bfloat16
    assert backbone.dtype == torch.float32


def test_algorithms_are_chosen_by_shapes_alone() -> None:
    with settled():
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.deterministic
