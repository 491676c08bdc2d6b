"""Training stages: a step loop that can be stopped anywhere and ends with the same weights.

A step depends on (seed, stage, step, rank, number of workers) and on the weights before it, on nothing else: there is
no loader to be exhausted and no generator whose state must be saved. A run that is interrupted starts again from the
latest checkpoint in the workspace.
"""

from __future__ import annotations

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol, TypeVar, cast

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from pipelines.checkpoints import Checkpoint, Checkpoints
from pipelines.networks import UNIT
from pipelines.stage import RUNTIME, Phase, Resources, Stage, StageConfig, StageSpec, build_stage
from pipelines.workspace import Output
from sppnet.errors import IncompleteError
from sppnet.seeds import derive_seed
from sppnet.weights import load_state

logger = logging.getLogger(__name__)

Curve = list[Mapping[str, Any]]
_MODEL, _MOMENTUM = "model.", "momentum."


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
        """Returns a model whose gradients are averaged over the workers."""

    def agree(self, value: float) -> float:
        """Returns rank 0's value on every worker; all must call it."""

    def mean(self, value: float) -> float:
        """Returns the mean over the workers; all must call it."""

    def report(self, point: Mapping[str, Any]) -> None:
        """Shows progress. Never waits for the other workers."""


class LocalWorker:
    """The only worker, in this process."""

    def __init__(self, device: torch.device | None = None) -> None:
        self.rank = 0
        self.world_size = 1
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def wrap(self, model: nn.Module) -> nn.Module:
        """Nothing to average with."""
        return model

    def agree(self, value: float) -> float:
        """The value itself."""
        return value

    def mean(self, value: float) -> float:
        """The value itself."""
        return value

    def report(self, point: Mapping[str, Any]) -> None:
        """Logs the point."""
        logger.info("training %s", " ".join(f"{name}={value}" for name, value in point.items()))


class Rate(BaseModel):
    """A learning rate for a number of steps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lr: Annotated[float, Field(gt=0)]
    steps: Annotated[int, Field(ge=1)]


class Plateau(BaseModel):
    """Divides the learning rate where the held-out error has stopped falling (section 3.1: by 10, twice).

    Attributes:
        patience: Measurements without a new lowest error after which the rate is divided.
        factor: What it is divided by.
        divisions: How often at most.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    patience: Annotated[int, Field(ge=1)] = 5
    factor: Annotated[float, Field(gt=1)] = 10.0
    divisions: Annotated[int, Field(ge=0)] = 2

    def divide(self, lr: float, errors: Iterable[float]) -> float:
        """Returns the rate after these held-out errors, in the order in which they were measured."""
        best, since, divided = math.inf, 0, 0
        for error in errors:
            best, since = (error, 0) if error < best else (best, since + 1)
            if since >= self.patience and divided < self.divisions:
                since, divided = 0, divided + 1
        return float(lr / self.factor**divided)


class TrainingConfig(StageConfig):
    """What all training stages have in common.

    Attributes:
        schedule: Learning rates, each for a number of steps; their sum is the length of the training.
        plateau: Divides the schedule's rate further where the held-out error stops falling.
        momentum: Of SGD.
        weight_decay: Of SGD, on all weights and biases.
        bias_rate: Factor on the learning rate of biases (the authors' release has 2).
        precision: Type in which layers compute; weights and momentum are float32 always.
        measure_every: Steps between measurements on the held-out part.
        checkpoint_every: Steps between checkpoints.
        log_every: Steps between points of the curve.
        workers: How many workers step together. Their number changes which dropout mask a sample gets, so runs
            are equal to the last bit only for the same number.
        cpus: CPUs of a worker.
        gpus: GPUs of a worker.
    """

    schedule: Annotated[tuple[Rate, ...], Field(min_length=1)]
    plateau: Plateau | None = None
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    bias_rate: Annotated[float, Field(gt=0)] = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"
    measure_every: Annotated[int, Field(ge=1)] = 200
    checkpoint_every: Annotated[int, RUNTIME, Field(ge=1)] = 500
    log_every: Annotated[int, RUNTIME, Field(ge=1)] = 20
    workers: Annotated[int, RUNTIME, Field(ge=1)] = 1
    cpus: Annotated[float, RUNTIME, Field(gt=0)] = 1
    gpus: Annotated[float, RUNTIME, Field(ge=0)] = 0

    @property
    def steps(self) -> int:
        """Length of the training."""
        return sum(rate.steps for rate in self.schedule)

    def rate(self, step: int, curve: Sequence[Mapping[str, Any]]) -> float:
        """The learning rate of a step, 0-based, after a curve whose points may hold `held_out_error`."""
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


class Task(ABC):
    """What one worker trains, and on what.

    Attributes:
        model: The whole model, on the worker's device.
    """

    model: nn.Module

    @abstractmethod
    def loss(self, model: nn.Module, step: int) -> torch.Tensor:
        """Returns this worker's part of a step's loss: its mean over the workers is the loss of the whole batch.

        Args:
            model: The model to call: `self.model`, or what averages its gradients.
            step: 0-based.
        """

    def measure(self) -> Mapping[str, float]:
        """Measures `self.model` on the held-out part; runs on rank 0, without gradients or dropout."""
        return {}

    @abstractmethod
    def finish(self, curve: Curve) -> Output:
        """Returns what the stage publishes; runs on rank 0."""

    def close(self) -> None:  # noqa: B027  # most tasks hold nothing
        """Releases threads and memory; runs however the training ends."""


C = TypeVar("C", bound=TrainingConfig)


class TrainingStage(Stage[C]):
    """A stage whose last phase is one unit that several workers make together."""

    def training_phase(self) -> Phase:
        """The phase that trains."""
        resources = Resources(cpus=self.config.cpus, gpus=self.config.gpus)
        return Phase("train", (UNIT,), resources, workers=self.config.workers, keyed=False)

    @abstractmethod
    def task(self, worker: Worker) -> Task:
        """Builds the model and its data for a worker. Fresh weights come from `torch`'s generator, seeded before."""

    def phases(self) -> list[Phase]:
        """One phase, the training."""
        return [self.training_phase()]

    def run(self, unit: str) -> Output:
        """Trains in this process; the engine calls `train_unit` through its executor instead."""
        output = Training(self, LocalWorker()).run()
        if output is None:
            raise IncompleteError(f"step {self.spec.step}: {unit} ended without a result")
        return output


class Training:
    """One worker's part in a training, from the latest checkpoint to the end."""

    def __init__(self, stage: TrainingStage[Any], worker: Worker) -> None:
        self.stage = stage
        self.config: TrainingConfig = stage.config
        self.worker = worker
        self.checkpoints = Checkpoints(stage.artifact)
        self.curve: Curve = []
        self._losses: list[float] = []

    def run(self) -> Output | None:
        """Trains until the last step. Returns rank 0's output, None on the other ranks.

        Raises:
            IncompleteError: The loss or a weight is not finite.
        """
        stage, worker = self.stage, self.worker
        torch.manual_seed(derive_seed(stage.seed, stage.name, "weights"))
        task = stage.task(worker)
        try:
            optimizer = self._optimizer(task.model)
            start = self._restore(task.model, optimizer)
            model = worker.wrap(task.model).train()
            for step in range(start, self.config.steps):
                self._step(task, model, optimizer, step)
                self._after(task, optimizer, step + 1)
            return task.finish(self.curve) if worker.rank == 0 else None
        finally:
            task.close()

    def _optimizer(self, model: nn.Module) -> torch.optim.SGD:
        config = self.config
        groups = []
        for bias in (False, True):
            params = [p for name, p in model.named_parameters() if name.endswith("bias") == bias and p.requires_grad]
            groups.append({"params": params, "factor": config.bias_rate if bias else 1.0})
        # fused: one pass over the weights; the default's four cost half of a step of a 26-million-weight fc6.
        return torch.optim.SGD(
            [group for group in groups if group["params"]],
            lr=config.schedule[0].lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def _restore(self, model: nn.Module, optimizer: torch.optim.SGD) -> int:
        """Loads the latest checkpoint, rank 0's choice on all ranks: a lost attempt may be saving one right now."""
        worker = self.worker
        found: Checkpoint | None = self.checkpoints.latest() if worker.rank == 0 else None
        step = int(worker.agree(found.step if found else 0))
        if step == 0:
            return 0
        found = found or self.checkpoints.load(step)
        load_state(model, found.tensors, f"checkpoint of step {step}", prefix=_MODEL, ignore=(_MOMENTUM,))
        for name, parameter in model.named_parameters():
            if _MOMENTUM + name in found.tensors:
                buffer = torch.empty_like(parameter).copy_(found.tensors[_MOMENTUM + name])
                optimizer.state[parameter]["momentum_buffer"] = buffer
        self.curve = list(found.curve)
        logger.info("training resumes step=%d of=%d artifact=%s", step, self.config.steps, self.stage.artifact.name)
        return step

    def _step(self, task: Task, model: nn.Module, optimizer: torch.optim.SGD, step: int) -> None:
        lr = self.config.rate(step, self.curve)
        for group in optimizer.param_groups:
            group["lr"] = lr * group["factor"]
        torch.manual_seed(derive_seed(self.stage.seed, self.stage.name, "step", step, self.worker.rank))
        lower = self.config.precision == "bfloat16"
        with torch.autocast(self.worker.device.type, dtype=torch.bfloat16, enabled=lower):
            loss = task.loss(model, step)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise IncompleteError(
                f"step {self.stage.spec.step}: training diverged, the loss of training step {step + 1} is {value}; "
                f"{self.checkpoints.advice()}"
            )
        self._losses.append(value)
        optimizer.zero_grad(set_to_none=True)
        cast(Any, loss).backward()
        optimizer.step()

    def _after(self, task: Task, optimizer: torch.optim.SGD, done: int) -> None:
        """Logs, measures and saves where it is time to, after `done` steps."""
        config, last = self.config, done == self.config.steps
        measures = last or done % config.measure_every == 0
        # The curve is cut at every checkpoint, so that no running mean is lost with a worker.
        saves = last or done % config.checkpoint_every == 0
        if measures or saves or done % config.log_every == 0:
            self._log(task, optimizer, done, measures=measures)
        if saves and self.worker.rank == 0:
            self.checkpoints.save(done, self._state(task.model, optimizer), self.curve)
            self.checkpoints.prune()

    def _log(self, task: Task, optimizer: torch.optim.SGD, done: int, *, measures: bool) -> None:
        mean = self.worker.mean(sum(self._losses) / len(self._losses))
        self._losses.clear()
        lr = self.config.rate(done - 1, self.curve)
        point: dict[str, Any] = {"step": done, "loss": round(mean, 6), "lr": lr}
        if measures:
            point |= self._measure(task)
        self.curve.append(point)
        if self.worker.rank == 0:
            self.worker.report(point)

    def _measure(self, task: Task) -> dict[str, float]:
        """Rank 0's measurements on every rank: a plateau must divide the rate on all of them at once."""
        found: Mapping[str, float] = {}
        if self.worker.rank == 0:
            task.model.eval()
            with torch.inference_mode():
                found = task.measure()
            task.model.train()
        error = self.worker.agree(round(found.get("held_out_error", math.nan), 6))
        agreed = {} if math.isnan(error) else {"held_out_error": error}
        return {name: round(value, 6) for name, value in found.items()} | agreed

    def _state(self, model: nn.Module, optimizer: torch.optim.SGD) -> dict[str, torch.Tensor]:
        state = {_MODEL + name: tensor for name, tensor in model.state_dict().items()}
        for name, parameter in model.named_parameters():
            buffer = optimizer.state[parameter].get("momentum_buffer") if parameter in optimizer.state else None
            if buffer is not None:
                state[_MOMENTUM + name] = buffer
        return state


def train_unit(spec: StageSpec, unit: str, worker: Worker) -> None:
    """Trains a stage's unit with one worker of several, and has rank 0 publish it.

    Raises:
        IncompleteError: The training diverged; the message names the step and the last good checkpoint.
    """
    start = time.perf_counter()
    stage = cast("TrainingStage[Any]", build_stage(spec))
    output = Training(stage, worker).run()
    if output is not None:
        seconds = time.perf_counter() - start
        stage.artifact.publish(unit, output, seconds)
        Checkpoints(stage.artifact).prune(keep=0)
