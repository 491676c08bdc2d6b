"""Networks' layers recognised, told to a kit that only writes down what it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from sppnet.networks.layer_plan import IMAGE, LayerPlan, plan_layers
from sppnet.networks.norms import ResponseNorm, WithinChannelNorm
from sppnet.networks.trunks import build_trunk


class Names:
    """A kit of names."""

    def convolution(
        self, weight: torch.Tensor, bias: torch.Tensor | None, module: nn.Conv2d, ceiling: float | None
    ) -> str:
        del bias, module
        return f"convolution {weight.shape[0]} {ceiling}"

    def max_pooling(self, module: nn.MaxPool2d) -> str:
        return f"pooling {module.kernel_size}"

    def across_channels(self, module: ResponseNorm) -> str:
        return f"across {module.size}"

    def within_channel(self, module: WithinChannelNorm) -> str:
        return f"within {module.size}"

    def pointwise(self, function: Callable[..., torch.Tensor], *, whole: bool, keeps_zeros: bool) -> str:
        return f"{getattr(function, '__name__', type(function).__name__)} {whole} {keeps_zeros}"


def plan(network: nn.Module) -> LayerPlan[str]:
    return plan_layers(network.eval(), Names())


def layers(found: LayerPlan[str]) -> list[str]:
    return [step.layer for step in found.steps]


def test_zf5_by_both_norms() -> None:
    top = ["convolution 384 inf", "convolution 384 inf", "convolution 256 inf"]
    ours = ["convolution 96 inf", "across 5", "pooling 3", "convolution 256 inf", "across 5", "pooling 3", *top]
    found = plan(build_trunk("zf5"))
    assert layers(found) == ours
    assert [step.sources for step in found.steps] == [(IMAGE,), *[(number,) for number in range(8)]]
    assert (found.wanted, found.rest, found.positive) == ((8,), None, True)
    assert layers(plan(build_trunk("zf5_released"))) == [name.replace("across 5", "within 3") for name in ours]


def test_norms_and_activations_belong_to_their_convolution() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU6(), nn.Dropout(), nn.Conv2d(4, 5, 1))
    assert layers(plan(network)) == ["convolution 4 6.0", "convolution 5 None"]


class Branches(nn.Module):
    def __init__(self, *, squeezed: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
        self.act = nn.SiLU()
        self.squeeze = Squeeze() if squeezed else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.squeeze(self.act(self.first(x))), self.second(x).relu()], 1)


class Squeeze(nn.Module):
    keeps_geometry = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x.mean((2, 3), keepdim=True).sigmoid()


def test_what_is_told_of_pointwise_functions() -> None:
    found = plan(Branches(squeezed=True))
    assert layers(found)[1:3] == ["SiLU False False", "Squeeze True False"]
    assert layers(found)[-1] == "_concatenate False True"
    assert found.steps[-1].sources == (2, 3)
    assert not found.positive
    assert len(plan(Branches(squeezed=False)).steps) == 4  # an identity is no step


def test_what_is_not_known_is_the_rest() -> None:
    network: Any = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 5, 1))
    found = plan(network)
    assert layers(found) == ["convolution 4 inf"]
    assert found.wanted == (0,)
    assert found.rest is not None
    values = torch.randn(1, 4, 6, 6)
    assert torch.equal(found.rest(values), network[3](network[2](values)))
