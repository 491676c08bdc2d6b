from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from sppnet.errors import ConfigError
from sppnet.networks.backbones import Backbone, BackboneSpec, build_backbone
from sppnet.networks.dilation import dilate_last_stage
from sppnet.networks.inference import InferenceBackbone
from sppnet.networks.receptive_fields import trace_geometry
from sppnet.networks.row_plan import plan_rows
from sppnet.networks.timm_models import in_known_layers
from sppnet.pooling.geometry import Geometry
from tests.support.footprints import footprint
from tests.support.small_timm import small_timm


def _built(architecture: str, dilate: int, cut: str | None = None) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(BackboneSpec(architecture, cut=cut, dilate=dilate)).eval()


@pytest.mark.parametrize("name", ["torchvision:mobilenet_v2", "torchvision:resnet18", "zf5"])
def test_every_second_cell_of_a_dilated_map_is_the_networks_own(name: str) -> None:
    plain, dilated = _built(name, 1), _built(name, 2)
    dilated.load_state_dict(plain.state_dict())  # the names are the same too
    before, after = plain.geometry, dilated.geometry
    assert after.stride == before.stride // 2
    assert (after.receptive_field, after.padding) == (before.receptive_field, before.padding)
    images = torch.randn(1, 3, 97, 130)
    with torch.inference_mode():
        own, dense = plain(images), dilated(images)
        torch.testing.assert_close(dense[:, :, ::2, ::2], own, rtol=1e-4, atol=1e-5)
        assert dense.shape[2] in (2 * own.shape[2] - 1, 2 * own.shape[2])
        torch.testing.assert_close(InferenceBackbone(dilated)(images), dense, rtol=1e-3, atol=1e-4)


def test_a_dilated_network_of_timms_layers_has_strips_and_its_geometry() -> None:
    plain, dilated = in_known_layers(small_timm()), in_known_layers(small_timm())
    dilate_last_stage(dilated)
    before = trace_geometry(plain)
    geometry = trace_geometry(dilated)
    assert geometry == Geometry(before.receptive_field, 4, before.padding)
    low = 16 * 4 - geometry.padding
    assert footprint(dilated, (151, 150), 16) == (low, low + geometry.receptive_field)
    plan = plan_rows(dilated.to(memory_format=torch.channels_last), torch.float32)
    assert plan.layers.rest is None
    images = torch.randn(1, 3, 61, 75).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        dense = dilated(images)
        torch.testing.assert_close(dense[:, :, ::2, ::2], plain(images), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(plan.run(images), dense, rtol=1e-4, atol=1e-5)


def test_a_spec_says_its_dilation_only_if_there_is_one() -> None:
    assert "dilate" not in BackboneSpec("zf5").to_dict()
    spec = BackboneSpec("zf5", dilate=2)
    assert BackboneSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    with pytest.raises(ConfigError, match=r"backbone.dilate: must be 1 or 2, not 3"):
        BackboneSpec("zf5", dilate=3)


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ([nn.Conv2d(3, 4, 3)], "has no stride that could be halved"),
        ([nn.Conv2d(3, 4, 5, 4)], "layer '0' has a stride of 4, only 2 can be halved"),
        ([nn.Conv2d(3, 4, 3), nn.AvgPool2d(2)], "layer '1' is a mean of 2 cells, it can't be dilated"),
    ],
)
def test_what_cant_be_dilated_is_said(layers: list[nn.Module], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        dilate_last_stage(nn.Sequential(*layers))


def test_a_layer_that_is_called_twice_cant_be_dilated() -> None:
    again = nn.Conv2d(3, 3, 3, 2, 1)
    with pytest.raises(ConfigError, match="called several times"):
        dilate_last_stage(nn.Sequential(again, again))
