"""What one worker trains, and on what, as the step loop sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from pipelines.engine.commits import Output

Curve = list[Mapping[str, Any]]


class Task(ABC):
    """What one worker trains, and on what.

    Attributes:
        model: The whole model, on the worker's device.
        batch: Examples of a step, over all workers.
        examples: What they are.
    """

    model: nn.Module
    batch: int
    examples: ClassVar[str] = "images"

    @abstractmethod
    def loss(self, model: nn.Module, step: int) -> torch.Tensor:
        """Return this worker's part of a step's loss: its mean over the workers is the loss of the whole batch.

        Args:
            model: The model to call: `self.model`, or what averages its gradients.
            step: 0-based.
        """

    def measure(self) -> Mapping[str, float]:
        """Measure `self.model` on the held-out part; runs on rank 0, without gradients or dropout."""
        return {}

    @abstractmethod
    def finish(self, curve: Curve) -> Output:
        """Return what the stage publishes; runs on rank 0."""

    def close(self) -> None:  # noqa: B027  # most tasks hold nothing
        """Release threads and memory; runs however the training ends."""
