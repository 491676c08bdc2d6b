from __future__ import annotations

import pytest
import torch
from torch import nn

from pipelines.training.optimizer import load_training_tensors, make_sgd, training_tensors
from sppnet.errors import ConfigError


def line() -> nn.Linear:
    made = nn.Linear(2, 1)
    nn.init.constant_(made.weight, 1.0)
    nn.init.constant_(made.bias, 1.0)
    return made


def step(model: nn.Linear, optimizer: torch.optim.SGD) -> None:
    """One step on a loss whose gradient is 1 everywhere."""
    optimizer.zero_grad()
    (model.weight.sum() + model.bias.sum()).backward()
    optimizer.step()


def test_weights_and_biases_have_rates_of_their_own() -> None:
    optimizer = make_sgd(line(), lr=0.5, momentum=0.9, weight_decay=0.1, bias_rate=2.0)
    assert [(len(group["params"]), group["factor"]) for group in optimizer.param_groups] == [(1, 1.0), (1, 2.0)]
    assert {(group["lr"], group["momentum"], group["weight_decay"]) for group in optimizer.param_groups} == {
        (0.5, 0.9, 0.1)
    }


def test_frozen_parameters_are_left_out() -> None:
    model = line()
    model.bias.requires_grad_(requires_grad=False)
    (group,) = make_sgd(model, lr=0.5, momentum=0.0, weight_decay=0.0).param_groups
    assert group["params"] == [model.weight]


def test_a_step_is_sgd_with_momentum_and_decay() -> None:
    model = line()
    optimizer = make_sgd(model, lr=0.5, momentum=0.5, weight_decay=0.25)
    step(model, optimizer)  # gradient 1 + 0.25 x 1 = 1.25
    assert model.weight.tolist() == [[0.375, 0.375]]
    step(model, optimizer)  # 0.5 x 1.25 + 1 + 0.25 x 0.375 = 1.71875
    assert model.weight.tolist() == [[-0.484375, -0.484375]]


def test_its_tensors_carry_it_on() -> None:
    model = line()
    optimizer = make_sgd(model, lr=0.5, momentum=0.5, weight_decay=0.0)
    assert set(training_tensors(model, optimizer)) == {"model.weight", "model.bias"}
    step(model, optimizer)
    tensors = {name: tensor.clone() for name, tensor in training_tensors(model, optimizer).items()}
    assert set(tensors) == {"model.weight", "model.bias", "momentum.weight", "momentum.bias"}

    other = nn.Linear(2, 1)
    resumed = make_sgd(other, lr=0.5, momentum=0.5, weight_decay=0.0)
    best = {"best.weight": torch.zeros(1, 2)}  # another's, which a checkpoint holds too
    load_training_tensors(other, resumed, {**tensors, **best}, "here")
    step(model, optimizer)
    step(other, resumed)
    assert other.weight.tolist() == model.weight.tolist() == [[-0.25, -0.25]]
    assert other.bias.tolist() == model.bias.tolist()


def test_another_models_tensors_are_refused() -> None:
    model = line()
    tensors = {"model.weight": torch.zeros(1, 3), "model.bias": torch.zeros(1)}
    with pytest.raises(ConfigError, match=r"here.*weight"):
        load_training_tensors(model, make_sgd(model, lr=1.0, momentum=0.0, weight_decay=0.0), tensors, "here")
