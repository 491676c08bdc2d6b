from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from sppnet.errors import ConfigError
from sppnet.networks.cuts import cut_network, last_activation


class Classifier(nn.Module):
    """Two stages with a side branch and one activation that is called twice, then pooling and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.side = nn.Conv2d(4, 4, 1)
        self.stage = nn.Sequential(nn.Conv2d(4, 4, 3, 1, 1), nn.BatchNorm2d(4))
        self.act = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.drop = nn.Dropout()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.stem(x))
        x = self.act(self.stage(x) + self.side(x))
        return self.fc(self.drop(self.pool(x)).mean((2, 3)))


def test_last_activation_is_before_pooling_and_the_classifier() -> None:
    assert last_activation(Classifier(), "toy") == "act"


def test_the_cut_keeps_names_values_and_the_last_call() -> None:
    torch.manual_seed(0)
    whole = Classifier()
    x = torch.randn(1, 3, 8, 8)
    kept = cut_network(whole, "act", "toy")
    assert {name.partition(".")[0] for name in kept.state_dict()} == {"stem", "side", "stage"}
    assert all(module.training for module in kept.modules())
    kept.eval()
    whole.eval()
    with torch.inference_mode():
        first = torch.relu(whole.stem(x))
        assert torch.equal(kept(x), torch.relu(whole.stage(first) + whole.side(first)))


def test_branches_beyond_the_cut_are_dropped() -> None:
    kept = cut_network(Classifier(), "stage.0", "toy")
    assert set(kept.state_dict()) == {"stem.weight", "stem.bias", "stage.0.weight", "stage.0.bias"}


def test_sequentials_are_cut_by_their_children() -> None:
    inner = nn.Sequential(OrderedDict(a=nn.Conv2d(3, 3, 1), b=nn.ReLU()))
    network = nn.Sequential(OrderedDict(first=inner, second=nn.Conv2d(3, 2, 1)))
    kept = cut_network(network, "first.a", "toy")
    assert isinstance(kept, nn.Sequential)
    assert list(kept.state_dict()) == ["first.a.weight", "first.a.bias"]
    with pytest.raises(ConfigError, match=r"'first.c' is no module of toy; 'c' not in: a, b"):
        cut_network(network, "first.c", "toy")


def test_what_can_not_be_cut_is_named() -> None:
    class Untraceable(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    class Flat(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.flatten(x)

    with pytest.raises(ConfigError, match="'stages' is no module of toy, did you mean 'stage'"):
        cut_network(Classifier(), "stages", "toy")
    with pytest.raises(ConfigError, match="toy: can't trace Untraceable"):
        cut_network(Untraceable(), "x", "toy")
    with pytest.raises(ConfigError, match="toy has no plain convolutional trunk"):
        last_activation(Flat(), "toy")
