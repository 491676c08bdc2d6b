"""The processes that train together, as a training sees them; Ray Train's are in `ray_train`."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from pipelines.engine.machine import choose_device


class Worker(Protocol):
    """One of the processes that step together.

    Attributes:
        rank: Its number, 0 for the one that measures, saves and publishes.
        world_size: How many there are.
        device: Where it computes.
    """

    rank: int
    world_size: int
    device: torch.device

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return a model whose gradients are averaged over the workers."""

    def agree(self, value: float) -> float:
        """Return rank 0's value on every worker; all must call it."""

    def mean(self, value: float) -> float:
        """Return the mean over the workers; all must call it."""


class LocalWorker:
    """The only worker, in this process."""

    def __init__(self, device: torch.device | None = None) -> None:
        self.rank = 0
        self.world_size = 1
        self.device = device or choose_device()

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model itself: there is nothing to average with."""
        return model

    def agree(self, value: float) -> float:
        """Return the value itself: there is no other worker."""
        return value

    def mean(self, value: float) -> float:
        """Return the value itself: there is no other worker."""
        return value
