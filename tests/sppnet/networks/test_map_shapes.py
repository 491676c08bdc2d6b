"""Shapes counted layer by layer beside those that torch's meta device gives."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sppnet.networks.backbones import BackboneSpec, build_backbone, map_size
from sppnet.networks.map_shapes import Counted, MapShape, ShapeCounter
from sppnet.sizes import Size


@pytest.mark.parametrize(
    "architecture",
    ["zf5", "zf5_released", "overfeat7", "squeezenet1_0", "torchvision:alexnet", "torchvision:resnet18"],
)
def test_shapes_are_those_of_the_meta_device(architecture: str) -> None:
    with torch.device("meta"):
        trunk = build_backbone(BackboneSpec(architecture)).trunk.eval()
    counter = ShapeCounter(trunk)
    gave = 0
    for side in [*range(1, 60, 3), *range(60, 90), 224, 687, 688]:
        counted = counter.count(side, side + 9)
        assert counted is not None
        try:
            with torch.inference_mode(), FlopCounterMode(display=False) as flops:
                shape = trunk(torch.empty(1, 3, side, side + 9, device="meta")).shape
        except RuntimeError:
            assert counted.shape.cells == 0
        else:
            assert counted.shape == MapShape(*shape[1:])
            assert counted.macs == flops.get_total_flops() // 2
            gave += 1
    assert gave > 10


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ((nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)), MapShape(5, 5, 5)),
        ((nn.Conv2d(3, 5, 11),), MapShape(5, 0, 0)),
        ((nn.Conv2d(3, 5, 3, padding="same"),), None),
        ((nn.Conv2d(3, 5, (3, 5)),), MapShape(5, 8, 6)),
        ((nn.PixelShuffle(1),), None),
    ],
)
def test_what_is_known(layers: tuple[nn.Module, ...], shape: MapShape | None) -> None:
    counted = ShapeCounter(nn.Sequential(*layers)).count(10, 10)
    assert (counted and counted.shape) == shape


def test_branches() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 2, 1, groups=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            one = self.one(x)
            return torch.cat([self.other(x), one + one, torch.relu(one)], dim=1)

    counted = ShapeCounter(Branches()).count(6, 7)
    assert counted == Counted(MapShape(10, 6, 7), (4 * 3 * 9 + 2 * 3) * 6 * 7)


def test_a_network_takes_no_compiler_along() -> None:
    code = (
        "import sys; from sppnet.networks.backbones import BackboneSpec, map_size; from sppnet.sizes import Size; "
        "print(*(map_size(BackboneSpec(name), Size(500, 375)) for name in ('squeezenet1_0', 'zf5', 'zf5_released')), "
        "[name for name in ('torchvision', 'torch._dynamo', 'sympy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    sizes = [map_size(BackboneSpec(name), Size(500, 375)) for name in ("squeezenet1_0", "zf5", "zf5_released")]
    assert done.stdout.strip() == f"{sizes[0]} {sizes[1]} {sizes[2]} []"
