"""Networks of one's own: the map and geometry of torch's layers, or a clear no."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from sppnet import own_parts
from sppnet.errors import ConfigError
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.pooling.geometry import Geometry
from sppnet.sizes import Size
from tests.support.own_modules import NETWORK

Write = Callable[..., str]
PATH = "their_parts:factory"
BRANCHES = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.wide, self.thin = nn.Conv2d(3, 8, 7, 4, 3), nn.Conv2d(8, 4, 3, 1, 1), nn.Conv2d(8, 4, 1)
        self.scale = float(torch.linspace(0, 1, 3)[1])  # a value, which the meta device has not

    def forward(self, images):
        x = torch.relu(self.stem(images))
        return torch.cat([self.wide(x), self.thin(x)], 1)

def factory():
    return Net()
"""


def test_a_network_of_ones_own_is_a_backbone(own_module: Write) -> None:
    own_module(NETWORK)
    own_parts.allow(PATH)
    backbone = build_backbone(BackboneSpec(PATH)).eval()
    assert (backbone.channels, backbone.geometry) == (12, Geometry(receptive_field=7, stride=4, padding=3))
    images = torch.rand(2, 3, 40, 52)
    assert torch.equal(backbone(images), backbone.trunk(images))
    assert backbone.map_size(Size(52, 40)) == (13, 10)
    assert BackboneSpec.from_dict(backbone.spec.to_dict()) == backbone.spec
    cut = build_backbone(BackboneSpec(PATH, cut="1"))
    assert (cut.channels, cut.geometry.stride) == (8, 2)
    assert build_backbone(BackboneSpec(PATH, dilate=2)).geometry.stride == 2


def test_branches_and_values_of_its_own(own_module: Write) -> None:
    own_module(BRANCHES)
    own_parts.allow(PATH)
    backbone = build_backbone(BackboneSpec(PATH)).eval()
    assert (backbone.channels, backbone.geometry) == (8, Geometry(receptive_field=15, stride=4, padding=7))
    net = own_parts.resolve(PATH)().eval()
    net.load_state_dict(backbone.trunk.state_dict())  # its names are kept
    images = torch.rand(1, 3, 48, 64)
    assert torch.allclose(backbone(images), net(images).relu(), atol=1e-6)


def test_a_factory_may_keep_what_it_gives(own_module: Write) -> None:
    own_module(f"{NETWORK}\nkept = factory()\ndef factory():\n    return kept\n")
    own_parts.allow(PATH)
    backbone = build_backbone(BackboneSpec(PATH))
    assert {one.device.type for one in backbone.parameters()} == {"cpu"}


def module(forward: str) -> str:
    return f"""
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.lstm = nn.Conv2d(3, 8, 3, 2, 1), nn.LSTM(8, 8)
    def forward(self, x):
        {forward}
def factory():
    return Net()
"""


def layer(forward: str) -> str:
    """A layer that says of itself that it keeps positions."""
    return f"""
from torch import nn
class Layer(nn.Module):
    keeps_geometry = True
    def forward(self, x):
        {forward}
def factory():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), Layer())
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def factory():\n    return 3\n", "their_parts:factory gave a value of type int, no torch.nn.Module"),
        ("def factory():\n    raise KeyError('a\\nb')\n", "their_parts:factory raised KeyError"),
        ("def factory(width):\n    ...\n", "their_parts:factory raised TypeError: .*width"),
        (module("return self.conv(x) if x.sum() > 0 else x"), "their_parts:factory: can't trace Net: "),
        (module("return self.no_such_layer(x)"), "their_parts:factory: can't trace Net: .*no_such_layer"),
        (module("return self.lstm(self.conv(x))[0]"), "layer 'lstm': no geometry is known for LSTM"),
        (module("return torch.fft.fft2(self.conv(x))"), "no geometry is known for fft_fft2"),
        (module("return nn.functional.relu(x.mean())"), "no geometry is known for mean"),
        (module("return self.conv(x + torch.ones(5))"), "their_parts:factory: its forward raised RuntimeError: "),
        (
            layer("return x[:, :, ::2, ::2]"),
            "512 and 520 pixels have maps of 128 x 128 and 130 x 130 cells",
        ),
        (layer("return x.mean((2, 3))"), r"its forward gives \[1, 8\], expected maps \[N, C, h, w\]"),
    ],
)
def test_what_is_no_backbone_is_a_clear_no(own_module: Write, text: str, expected: str) -> None:
    own_module(text)
    own_parts.allow(PATH)
    with pytest.raises(ConfigError, match=expected) as caught:
        build_backbone(BackboneSpec(PATH))
    assert "their_parts:factory" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_allowed_is_refused(own_module: Write) -> None:
    own_module(NETWORK)
    with pytest.raises(ConfigError, match="their_parts:factory names code"):
        BackboneSpec(PATH)
    with pytest.raises(ConfigError, match="their_parts:factory names code"):
        BackboneSpec.from_dict({"architecture": PATH})


def test_a_module_is_given_whatever_its_layers_are(own_module: Write) -> None:
    own_module(NETWORK)
    own_parts.allow(PATH)
    assert isinstance(build_backbone(BackboneSpec(PATH)).trunk, nn.Sequential)
