from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pipelines.training.best_weights import BestSnapshot, kept_figures
from sppnet.errors import ConfigError

CURVE: list[dict[str, Any]] = [
    {"step": 10, "loss": 2.0},
    {"step": 20, "loss": 1.0, "held_out_error": 0.5},
    {"step": 30, "loss": 0.9, "held_out_error": 0.25},
    {"step": 40, "loss": 0.1, "held_out_error": 0.25},
    {"step": 50, "loss": 0.0, "held_out_error": 0.75},
]


def model(value: float) -> nn.Linear:
    made = nn.Linear(2, 1)
    nn.init.constant_(made.weight, value)
    nn.init.constant_(made.bias, -value)
    return made


def offered() -> BestSnapshot:
    """What is left when the curve's points were measured on weights equal to their steps."""
    best = BestSnapshot()
    for point in CURVE[1:]:
        best.offer(point["held_out_error"], model(float(point["step"])))
    return best


def test_of_equals_the_first_is_kept_and_its_point_marked() -> None:
    last = model(50.0)
    curve = offered().apply(last, CURVE)
    assert last.weight.tolist() == [[30.0, 30.0]]
    assert last.bias.tolist() == [-30.0]
    assert [point.get("kept") for point in curve] == [None, None, 1, None, None]
    assert [{k: v for k, v in point.items() if k != "kept"} for point in curve] == CURVE
    assert kept_figures(curve) == {"loss": 0.9, "held_out_error": 0.25, "kept_step": 30}


def test_the_weights_are_copies() -> None:
    best, trained = BestSnapshot(), model(1.0)
    best.offer(0.5, trained)
    nn.init.zeros_(trained.weight)
    assert best.tensors()["best.weight"].tolist() == [[1.0, 1.0]]


def test_a_checkpoint_carries_them_on() -> None:
    tensors = {"model.weight": torch.zeros(1, 2), **offered().tensors()}
    resumed = BestSnapshot()
    resumed.restore(tensors, CURVE)
    resumed.offer(0.25, model(60.0))  # no better than what was kept before
    assert resumed.tensors()["best.weight"].tolist() == [[30.0, 30.0]]
    resumed.offer(0.125, model(70.0))
    assert resumed.tensors()["best.weight"].tolist() == [[70.0, 70.0]]


def test_nothing_measured_is_told() -> None:
    with pytest.raises(ConfigError, match="keep: best needs held-out images"):
        BestSnapshot().apply(model(1.0), CURVE[:1])


def test_without_a_mark_the_last_figures_are_kept() -> None:
    assert kept_figures([{"step": 10, "lr": 0.1, "loss": 2.0}, {"step": 20, "lr": 0.01, "loss": 1.5}]) == {"loss": 1.5}
