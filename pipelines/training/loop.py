"""Training stages: a step loop that can be stopped anywhere and ends with the same weights.

A step depends on (seed, stage, step, rank, number of workers) and on the weights before it, on nothing else: there is
no loader to be exhausted and no generator whose state must be saved. A run that is interrupted starts again from the
latest checkpoint in the workspace.
"""

from __future__ import annotations

import logging
import math
import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import torch
from torch import nn

from pipelines.artifacts.networks import UNIT
from pipelines.engine.commits import Output
from pipelines.engine.disk_faults import telling_disk_faults
from pipelines.engine.phases import Phase
from pipelines.engine.stage import StageSpec
from pipelines.engine.work import build_stage
from pipelines.shards.stage import ShardStage
from pipelines.training.best_weights import BestSnapshot
from pipelines.training.checkpoints import Checkpoint, Checkpoints
from pipelines.training.compiling import compile_model
from pipelines.training.config import TrainingConfig
from pipelines.training.optimizer import load_training_tensors, make_sgd, training_tensors
from pipelines.training.progress import ProgressWriter
from pipelines.training.task import Curve, Task
from pipelines.training.workers import LocalWorker, Worker
from sppnet.errors import ConfigError, IncompleteError
from sppnet.seeds import derive_seed

logger = logging.getLogger(__name__)

C = TypeVar("C", bound=TrainingConfig)


class TrainingStage(ShardStage[C]):
    """A stage whose last phase is one unit that several workers make together.

    Attributes:
        seed: What all its seeds derive from: the run's, and for a further network of the same config its number.
    """

    def __init__(self, config: C, spec: StageSpec) -> None:
        super().__init__(config, spec)
        if config.seed:
            self.seed = derive_seed(spec.seed, "network", config.seed)

    def training_phase(self) -> Phase:
        """Return the phase that trains."""
        return Phase("train", (UNIT,), self.config.resources(), workers=self.config.workers, keyed=False)

    @abstractmethod
    def task(self, worker: Worker) -> Task:
        """Build the model and its data for a worker. Fresh weights come from `torch`'s generator, seeded before."""

    def phases(self) -> list[Phase]:
        """Return one phase, the training."""
        return [self.training_phase()]

    def run(self, unit: str) -> Output:
        """Train in this process; the engine calls `train_unit` through its executor instead."""
        output = Training(self, LocalWorker()).run()
        if output is None:
            raise IncompleteError(f"step {self.spec.step}: {unit} ended without a result")
        return output


class _StepLoss:
    """The loss of a step, 0-based, on its way from the device: asking for it at once would leave the device idle."""

    def __init__(self, step: int, loss: torch.Tensor) -> None:
        self.step = step
        self._value = loss.detach().to("cpu", non_blocking=True)
        self._ready: torch.cuda.Event | None = None
        if loss.is_cuda:
            self._ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._ready.record(torch.cuda.current_stream(loss.device))

    def read(self) -> float:
        if self._ready is not None:
            self._ready.synchronize()
        return float(self._value)


class Training:
    """One worker's part in a training, from the latest checkpoint to the end.

    `run` does all of it; `begin` and `advance` are its parts, for those that time single steps.
    """

    def __init__(self, stage: TrainingStage[Any], worker: Worker) -> None:
        self.stage = stage
        self.config: TrainingConfig = stage.config
        self.worker = worker
        self.checkpoints = Checkpoints(stage.artifact)
        self.curve: Curve = []
        self._best = BestSnapshot() if stage.config.keep == "best" else None
        self._losses: list[float] = []
        self._lr = 0.0
        self._progress: ProgressWriter | None = None
        self._unread: _StepLoss | None = None
        self._task: Task
        self._model: nn.Module
        self._optimizer: torch.optim.SGD

    def run(self) -> Output | None:
        """Train until the last step. Return rank 0's output, None on the other ranks.

        Raises:
            ConfigError: The latest checkpoint is of another training, or `compile` finds no compiler.
            IncompleteError: The loss or a weight is not finite.
        """
        torch.manual_seed(derive_seed(self.stage.seed, self.stage.name, "weights"))
        task = self.stage.task(self.worker)
        try:
            if self.worker.rank:
                self._advance_all(task)
                return None
            with ProgressWriter(self.stage.artifact, self.config.steps, task.batch, task.examples) as self._progress:
                self._advance_all(task)
            return self._finish()
        finally:
            task.close()

    def _advance_all(self, task: Task) -> None:
        start = self.begin(task)
        if self._progress is not None:
            self._progress.begin(start)
        for step in range(start, self.config.steps):
            self.advance(step)

    def begin(self, task: Task) -> int:
        """Take up a task where the latest checkpoint left it. Return the step to go on with, 0-based."""
        config = self.config
        self._task = task
        self._optimizer = make_sgd(
            task.model,
            lr=config.schedule[0].lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            bias_rate=config.bias_rate,
        )
        start = self._restore()
        model = self.worker.wrap(task.model).train()
        self._model = compile_model(model, self.worker.device) if config.compile else model
        return start

    def advance(self, step: int) -> None:
        """Do one step, and log, measure and save where it is time to."""
        self._step(step)
        self._after(step + 1)

    def _finish(self) -> Output:
        """Publish the last weights, or those that `keep` asks for."""
        if self._best is not None:
            self.curve = self._best.apply(self._task.model, self.curve)
        return self._task.finish(self.curve)

    def _restore(self) -> int:
        """Load the latest checkpoint, rank 0's choice on all ranks: a lost attempt may be saving one right now."""
        worker = self.worker
        found: Checkpoint | None = self.checkpoints.latest() if worker.rank == 0 else None
        step = int(worker.agree(found.step if found else 0))
        if step == 0:
            return 0
        found = found or self.checkpoints.load(step)
        load_training_tensors(self._task.model, self._optimizer, found.tensors, f"checkpoint of step {step}")
        self.curve = list(found.curve)
        if self._best is not None:
            self._best.restore(found.tensors, self.curve)
        logger.info("training resumes step=%d of=%d artifact=%s", step, self.config.steps, self.stage.artifact.name)
        return step

    def _step(self, step: int) -> None:
        self._lr = self.config.rate(step, self.curve)
        for group in self._optimizer.param_groups:
            group["lr"] = self._lr * group["factor"]
        torch.manual_seed(derive_seed(self.stage.seed, self.stage.name, "step", step, self.worker.rank))
        lower = self.config.precision == "bfloat16"
        with torch.autocast(self.worker.device.type, dtype=torch.bfloat16, enabled=lower):
            loss = self._task.loss(self._model, step)
        self._read_loss()
        self._unread = _StepLoss(step, loss)
        self._optimizer.zero_grad(set_to_none=True)
        cast(Any, loss).backward()
        self._optimizer.step()

    def _read_loss(self) -> None:
        """Check the loss of the step before: by now the device has it, and has this step to go on with meanwhile."""
        if self._unread is None:
            return
        step, value = self._unread.step, self._unread.read()
        self._unread = None
        if not math.isfinite(value):
            raise IncompleteError(
                f"step {self.stage.spec.step}: training diverged, the loss of training step {step + 1} is {value}; "
                f"{self.checkpoints.advice()}"
            )
        self._losses.append(value)
        if self._progress is not None:
            self._progress.note(step + 1, value, self._lr)

    def _after(self, done: int) -> None:
        """Log, measure and save where it is time to, after `done` steps."""
        config, last = self.config, done == self.config.steps
        measures = last or done % config.measure_every == 0
        # The curve is cut at every checkpoint, so that no running mean is lost with a worker.
        saves = last or done % config.checkpoint_every == 0
        if measures or saves or done % config.log_every == 0:
            self._read_loss()
            self._log(done, measures=measures)
        if saves and self.worker.rank == 0:
            best = self._best.tensors() if self._best is not None else {}
            self.checkpoints.save(done, training_tensors(self._task.model, self._optimizer) | best, self.curve)
            self.checkpoints.prune()

    def _log(self, done: int, *, measures: bool) -> None:
        mean = self.worker.mean(sum(self._losses) / len(self._losses))
        self._losses.clear()
        lr = self.config.rate(done - 1, self.curve)
        point: dict[str, Any] = {"step": done, "loss": round(mean, 6), "lr": lr}
        if measures:
            point |= self._measure()
        if measures and self._best is not None:
            if "held_out_error" not in point:
                raise ConfigError(f"step {self.stage.spec.step}: keep: best needs held-out images, and there are none")
            self._best.offer(point["held_out_error"], self._task.model)
        self.curve.append(point)
        if self._progress is not None:
            self._progress.note_point(point)

    def _measure(self) -> dict[str, float]:
        """Return rank 0's measurements on every rank: a plateau must divide the rate on all of them at once."""
        task = self._task
        found: Mapping[str, float] = {}
        if self.worker.rank == 0:
            task.model.eval()
            with torch.inference_mode():
                found = task.measure()
            task.model.train()
        error = self.worker.agree(round(found.get("held_out_error", math.nan), 6))
        agreed = {} if math.isnan(error) else {"held_out_error": error}
        return {name: round(value, 6) for name, value in found.items()} | agreed


def train_unit(spec: StageSpec, unit: str, worker: Worker) -> None:
    """Train a stage's unit with one worker of several, and have rank 0 publish it.

    Raises:
        IncompleteError: The training diverged; the message names the step and the last good checkpoint.
    """
    start = time.perf_counter()
    stage = cast("TrainingStage[Any]", build_stage(spec))
    with telling_disk_faults():
        output = Training(stage, worker).run()
    if output is not None:
        seconds = time.perf_counter() - start
        stage.artifact.publish(unit, output, seconds)
        Checkpoints(stage.artifact).prune(keep=0)
