"""Plans: what is recognised of a network, what is fused, and what is left to torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sppnet.networks.row_layers import Convolution, MaxPooling, Pointwise
from sppnet.networks.row_plan import RowPlan, plan_rows


def kinds(plan: RowPlan) -> list[str]:
    return [type(step.layer).__name__ for step in plan.layers.steps]


def normalised(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    return norm


class Residual(nn.Module):
    """A sum of branches, with an operation in the middle that no plan knows."""

    def __init__(self, unknown: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = normalised(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.unknown = unknown

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.first(x)))
        y = self.second(x)
        y += x
        if self.unknown:
            y = y.roll(1, dims=2) + x
        return torch.cat([y.relu(), x], 1)


def equal(network: nn.Module, plan: RowPlan, side: int = 20) -> None:
    images = torch.randn(1, 3, side, side).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        torch.testing.assert_close(plan.run(images), network(images), rtol=1e-5, atol=1e-6)


def test_norms_and_relus_are_part_of_convolutions() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), normalised(8), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Dropout(),
        nn.Conv2d(8, 4, 1), nn.ReLU6(),
    ).eval()  # fmt: skip
    plan = plan_rows(network, torch.float32)
    assert kinds(plan) == ["Convolution", "MaxPooling", "Convolution"]
    assert plan.positive
    assert plan.layers.rest is None
    equal(network, plan)


def test_a_graph_is_followed() -> None:
    network = Residual(unknown=False).eval()
    plan = plan_rows(network, torch.float32)
    assert kinds(plan) == ["Convolution", "Convolution", "Pointwise", "Pointwise", "Pointwise"]
    assert plan.positive
    equal(network, plan)


def test_the_rest_is_torchs() -> None:
    network = Residual(unknown=True).eval()
    plan = plan_rows(network, torch.float32)
    assert kinds(plan) == ["Convolution", "Convolution", "Pointwise"]
    assert not plan.positive
    assert len(plan.layers.wanted) == 2  # x and y
    equal(network, plan)


@pytest.mark.parametrize("network", [
    nn.Sequential(nn.MaxPool2d(2)),  # of values of either sign
    nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")),
    nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2, dilation=2)),
    nn.Sequential(nn.ReLU(), nn.MaxPool2d((3, 1))),
    nn.Sequential(nn.AvgPool2d(2)),
])  # fmt: skip
def test_what_is_not_known_is_left(network: nn.Module) -> None:
    plan = plan_rows(network.eval(), torch.float32)
    assert plan.layers.rest is not None
    assert not {Convolution, MaxPooling} & {type(step.layer) for step in plan.layers.steps}
    equal(network, plan)


class Shared(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, x], 1) + torch.cat([x.relu_(), x], 1)


def test_what_changes_a_value_that_others_read_is_left() -> None:
    plan = plan_rows(Shared().eval(), torch.float32)
    assert [type(step.layer) for step in plan.layers.steps] == []
    images = torch.randn(1, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    assert torch.equal(plan.run(images.clone()), Shared()(images.clone()))


def test_an_activation_without_a_convolution_has_no_sign() -> None:
    plan = plan_rows(nn.Sequential(nn.ReLU()).eval(), torch.float32)
    found = plan.run(torch.tensor([-1.0, -0.0, 2.0]).view(1, 1, 1, 3))
    assert isinstance(plan.layers.steps[0].layer, Pointwise)
    assert found.flatten().tolist() == [0.0, 0.0, 2.0]
    assert not torch.signbit(found).any()
