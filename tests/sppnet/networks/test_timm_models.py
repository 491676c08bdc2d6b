from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from sppnet.errors import ConfigError
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.receptive_fields import trace_geometry
from sppnet.networks.row_plan import plan_rows
from sppnet.networks.timm_models import in_known_layers
from tests.support.footprints import footprint
from tests.support.small_timm import BatchNormAct2d, small_timm


def test_timms_layers_keep_their_names_and_values_and_have_a_geometry() -> None:
    theirs, ours = small_timm(), in_known_layers(small_timm())
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    images = torch.randn(1, 3, 64, 96)  # multiples of the stride
    assert torch.equal(ours(images), theirs(images))
    geometry = trace_geometry(ours)
    assert geometry.stride == 8
    for hw in ((144, 147), (145, 150)):  # timm's own padding would move the cells of odd sides
        for axis in (0, 1):
            low = 8 * 8 - geometry.padding
            assert footprint(ours, hw, 8, axis) == (low, low + geometry.receptive_field)


@pytest.mark.parametrize("hw", [(64, 96), (61, 75), (130, 33)])
def test_timms_layers_run_in_strips(hw: tuple[int, int]) -> None:
    network = in_known_layers(small_timm()).to(memory_format=torch.channels_last)
    plan = plan_rows(network, torch.float32)
    assert plan.layers.rest is None
    images = torch.randn(1, 3, *hw).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        torch.testing.assert_close(plan.run(images), network(images), rtol=1e-4, atol=1e-5)


def test_layers_that_compute_otherwise_than_torchs_are_refused_or_left_to_torch() -> None:
    with pytest.raises(ConfigError, match="layer '0': no geometry is known for Conv2dSame"):
        trace_geometry(small_timm())
    network = nn.Sequential(nn.Conv2d(3, 8, 3), BatchNormAct2d(8, nn.ReLU6()), nn.ReLU()).eval()
    images = torch.randn(1, 3, 20, 20)
    with torch.inference_mode():  # the activation in the norm is not lost
        torch.testing.assert_close(plan_rows(network, torch.float32).run(images), network(images))
    network[1].drop = nn.Dropout2d()
    with pytest.raises(ConfigError, match="a normalisation with drop Dropout2d is not known"):
        in_known_layers(network)


def test_without_timm_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"timm:some_net needs timm, .*: pip install 'sppnet\[timm\]'$"):
        BackboneSpec("timm:some_net")


def test_the_maps_of_a_timm_network_are_timms() -> None:
    timm = pytest.importorskip("timm")
    backbone = build_backbone(BackboneSpec("timm:tf_efficientnet_lite0")).eval()
    assert (backbone.geometry.stride, backbone.channels) == (32, 1280)
    middle = build_backbone(BackboneSpec("timm:tf_efficientnet_lite0", cut="blocks.5.0.bn1"))
    assert (middle.geometry.stride, middle.channels) == (16, 672)
    assert backbone.preprocessing.mean == (127.5, 127.5, 127.5)
    theirs = timm.create_model("tf_efficientnet_lite0").eval().to(memory_format=torch.channels_last)
    backbone.trunk.load_state_dict(theirs.state_dict(), strict=False)
    images = torch.randn(1, 3, 64, 96).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(images), theirs.forward_features(images))
    with pytest.raises(ConfigError, match="no geometry is known for StdConv2d"):
        build_backbone(BackboneSpec("timm:resnetv2_50x1_bit"))
    with pytest.raises(ConfigError, match="timm has no network 'resnet5x', did you mean"):
        BackboneSpec("timm:resnet5x")
