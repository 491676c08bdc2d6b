"""What all training stages have in common in their configs: learning rates, their schedule, workers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.engine.machine import GpuFields
from pipelines.engine.phases import Needs
from pipelines.engine.stage import RUNTIME
from sppnet.errors import ConfigError


class Rate(BaseModel):
    """A learning rate for a number of steps.

    Attributes:
        lr: The learning rate. [no unit; section 3.1; section 4.1]
        steps: For how many steps it holds. [steps; section 4.1]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lr: Annotated[float, Field(gt=0)]
    steps: Annotated[int, Field(ge=1)]


class Plateau(BaseModel):
    """Divides the learning rate where the held-out error has stopped falling (section 3.1: by 10, twice).

    Attributes:
        patience: Measurements without a new lowest error after which the rate is divided. [measurements]
        factor: What it is divided by. [factor; section 3.1]
        divisions: How often at most. [divisions; section 3.1]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    patience: Annotated[int, Field(ge=1)] = 5
    factor: Annotated[float, Field(gt=1)] = 10.0
    divisions: Annotated[int, Field(ge=0)] = 2

    def divide(self, lr: float, errors: Iterable[float]) -> float:
        """Return the rate after these held-out errors, in the order in which they were measured."""
        best, since, divided = math.inf, 0, 0
        for error in errors:
            best, since = (error, 0) if error < best else (best, since + 1)
            if since >= self.patience and divided < self.divisions:
                since, divided = 0, divided + 1
        return float(lr / self.factor**divided)


class TrainingConfig(GpuFields):
    """What all training stages have in common.

    Attributes:
        seed: Number of this network among those of one config, for means over seeds; 0 has the run's own seed.
            [no unit]
        schedule: Learning rates, each for a number of steps; their sum is the length of the training.
            [section 3.1; section 4.1]
        plateau: Divides the schedule's rate further where the held-out error stops falling. [section 3.1]
        momentum: Momentum of SGD. [fraction]
        weight_decay: Weight decay of SGD, on all weights and biases. [no unit]
        bias_rate: Factor on the learning rate of biases (the authors' release has 2). [factor]
        precision: Type in which layers compute; weights and momentum are float32 always.
        measure_every: Steps between measurements on the held-out part. [steps]
        keep: Which weights are published: the `last`, or the `best`, those of the measurement with the lowest held-out
            error.
        checkpoint_every: Steps between checkpoints. [steps]
        log_every: Steps between points of the curve. [steps]
        workers: How many workers step together. Their number changes which dropout mask a sample gets, so runs are
            equal to the last bit only for the same number. [workers]
        compile: Whether the model's steps run through `torch.compile`, which needs a compiler on the workers and
            takes a minute or more to start; what it computes is the same but for rounding.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    schedule: Annotated[tuple[Rate, ...], Field(min_length=1)]
    plateau: Plateau | None = None
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    bias_rate: Annotated[float, Field(gt=0)] = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"
    measure_every: Annotated[int, Field(ge=1)] = 200
    keep: Literal["last", "best"] = "last"
    checkpoint_every: Annotated[int, RUNTIME, Field(ge=1)] = 500
    log_every: Annotated[int, RUNTIME, Field(ge=1)] = 20
    workers: Annotated[int, RUNTIME, Field(ge=1)] = 1
    compile: Annotated[bool, RUNTIME] = False

    def check_held_out(self, holdout: float) -> None:
        """Raise `ConfigError` where something is to be decided on a held-out part that is empty."""
        if self.keep == "best" and not holdout:
            raise ConfigError("keep: best needs a held-out part: set holdout above 0")

    def needs(self, step: str) -> Needs:
        """See `StageConfig.needs`."""
        return Needs(step, self.resources(), self.workers)

    @property
    def steps(self) -> int:
        """Length of the training."""
        return sum(rate.steps for rate in self.schedule)

    def rate(self, step: int, curve: Sequence[Mapping[str, Any]]) -> float:
        """Return the learning rate of a step, 0-based, after a curve whose points may hold `held_out_error`."""
        last = 0
        lr = self.schedule[-1].lr
        for part in self.schedule:
            last += part.steps
            if step < last:
                lr = part.lr
                break
        if self.plateau is None:
            return lr
        return self.plateau.divide(lr, (point["held_out_error"] for point in curve if "held_out_error" in point))
