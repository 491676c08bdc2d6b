"""All that talks to Ray Train: a training phase's workers as a `TorchTrainer`.

Ray Train starts the workers, joins them in a process group and starts them again when one dies. Checkpoints are ours
(`pipelines.training.checkpoints`), so each attempt has a fresh name and Ray's own storage holds nothing that anyone
reads.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, TypeGuard

import torch
from torch import nn

from pipelines.engine.codec import decode, encode
from pipelines.engine.executor import one_line
from pipelines.engine.phases import Needs, Phase
from pipelines.engine.stage import StageSpec
from pipelines.engine.store import arrow_location
from pipelines.engine.workspace import Artifact, Workspace
from pipelines.executors.capacity import Capacity, amounts_of
from pipelines.executors.retries import RetryLimits
from pipelines.executors.versions import check_version
from pipelines.training.checkpoints import FOLDER
from pipelines.training.loop import train_unit
from sppnet import errors
from sppnet.errors import DataError, IncompleteError, SppError

logger = logging.getLogger(__name__)

_MAX_FAILURES = 5
_STORAGE = "runs/.ray-train"
_WATCH_SECONDS = 5.0


class RayWorker:
    """This process as one worker of Ray Train's group."""

    def __init__(self) -> None:
        import ray.train
        import ray.train.torch

        context = ray.train.get_context()
        self.rank: int = context.get_world_rank()
        self.world_size: int = context.get_world_size()
        self.device: torch.device = ray.train.torch.get_device()

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model in DistributedDataParallel, which starts with rank 0's weights everywhere."""
        import ray.train.torch

        if self.world_size == 1:
            return model
        wrapped: nn.Module = ray.train.torch.prepare_model(model, move_to_device=False)
        return wrapped

    def agree(self, value: float) -> float:
        """Return rank 0's value."""
        return self._collect(value, lambda shared: torch.distributed.broadcast(shared, src=0))

    def mean(self, value: float) -> float:
        """Return the mean over the ranks."""
        return self._collect(value / self.world_size, torch.distributed.all_reduce)

    def _collect(self, value: float, operation: Any) -> float:
        if self.world_size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        operation(shared)
        return float(shared[0])


def train_on_ray(
    spec: StageSpec, phase: Phase, unit: str, *, capacity: Capacity, limits: RetryLimits, check: Callable[[], None]
) -> None:
    """Train a unit on `phase.workers` workers of the connected Ray cluster until it is committed.

    A dead worker is replaced up to five times, a preempted one without limit, and the group goes on from the latest
    checkpoint. Where Ray Train itself is lost (its controller was killed, its node is gone, the connection was cut),
    it is started again, as often as a unit is tried that fails for such reasons.

    Args:
        spec: The stage.
        phase: Its training phase.
        unit: The phase's unit.
        capacity: What the cluster has.
        limits: How often training is begun.
        check: Is called while it goes on, and raises if there is no use in waiting.

    Raises:
        SppError: What a worker raised, unchanged.
        ConfigError: The workers need more than there is.
        IncompleteError: The workers could not be started or kept alive.
    """
    capacity.check(Needs(spec.step, phase.resources, phase.workers))
    artifact = Workspace.open(spec.workspace).artifact(spec.artifact)
    resources = _worker_resources(phase, capacity)
    for failures in count(1):
        error = _attempt(spec, phase, unit, resources, check)
        if unit in artifact.committed():
            return
        if not _is_lost(error) or failures >= limits.tries("infrastructure"):
            break
        wait = limits.wait(failures)
        logger.warning("step %s: training was lost (%s), begun again in %.1f s", spec.step, _first_line(error), wait)
        time.sleep(wait)
    why = _first_line(error) if error else "the workers ended without a result"
    tried = f" ({failures} tries)" if failures > 1 else ""
    raise IncompleteError(
        f"step {spec.step}: training stopped: {why}{tried}; checkpoints are kept, run again to go on"
    ) from error


def _attempt(
    spec: StageSpec, phase: Phase, unit: str, resources: Mapping[str, float], check: Callable[[], None]
) -> Exception | None:
    """Train until the workers end. Return what Ray raised; raise what a worker recorded."""
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.config import ScalingConfig

    artifact = Workspace.open(spec.workspace).artifact(spec.artifact)
    attempt = uuid.uuid4().hex[:12]
    name = f"{spec.artifact}-{attempt}"
    trainer = TorchTrainer(
        train_loop_per_worker=_train_loop,
        train_loop_config={"spec": spec, "unit": unit, "attempt": attempt, "cpus": resources["CPU"]},
        scaling_config=ScalingConfig(
            num_workers=phase.workers, use_gpu="GPU" in resources, resources_per_worker=dict(resources)
        ),
        run_config=_run_config(spec.workspace, name),
    )
    with _cleaning(artifact, attempt, name):
        error = _fit(trainer, check)
        raised = _recorded(artifact, attempt)
    if raised is not None:
        raise raised from error
    return error


def _is_lost(error: Exception | None) -> TypeGuard[Exception]:
    """Tell whether it is Ray Train itself that was lost: a worker's loss it has dealt with in its own way."""
    from ray.exceptions import RayError, RayTaskError

    return isinstance(error, RayError) and not isinstance(error, RayTaskError)


def _worker_resources(phase: Phase, capacity: Capacity) -> dict[str, float]:
    """Return what each worker reserves: what the phase asks for, or its share of a machine that has less."""
    settled = capacity.settle(phase.resources)
    amounts = amounts_of(replace(settled, memory_bytes=0))
    if capacity.local:
        amounts["CPU"] = min(settled.cpus, capacity.total("CPU") / phase.workers)
    return amounts


def _run_config(workspace: str, name: str) -> Any:
    from ray.train.v2.api.config import FailureConfig, LoggingConfig, RunConfig

    path, files = arrow_location(workspace)
    return RunConfig(
        name=name,
        # The limit on the controller's failures is what ends the wait for workers that never fit the cluster.
        failure_config=FailureConfig(max_failures=_MAX_FAILURES, controller_failure_limit=_MAX_FAILURES),
        logging_config=LoggingConfig(log_level="ERROR"),
        storage_path=f"{path}/{_STORAGE}",
        storage_filesystem=files,
    )


def _train_loop(config: dict[str, Any]) -> None:
    """Train in every worker. An `SppError` is recorded for the driver, since no other attempt would escape it."""
    spec: StageSpec = config["spec"]
    artifact = Workspace.open(spec.workspace).artifact(spec.artifact)
    if _recorded(artifact, config["attempt"]) is not None:
        return
    torch.set_num_threads(max(1, int(config["cpus"])))
    worker = RayWorker()
    try:
        check_version()
        train_unit(spec, config["unit"], worker)
    except SppError as error:
        _record(artifact, config["attempt"], error)
        if worker.world_size > 1:
            raise  # the others wait for this rank: Ray must end the group, which finds the record when it is back


def _fit(trainer: Any, check: Callable[[], None]) -> Exception | None:
    """Fit on a thread, so that Ctrl-C reaches the caller: on the main thread Ray Train would swallow it."""
    failures: list[Exception] = []

    def fit() -> None:
        try:
            trainer.fit()
        except Exception as error:  # noqa: BLE001  # handed to the caller's thread
            failures.append(error)

    thread = threading.Thread(target=fit, name="ray-train", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_WATCH_SECONDS)
        check()
    return failures[0] if failures else None


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a worker raised: the error's class, and what it is made anew with."""

    type: str
    parts: tuple[str, ...]


def _record_name(artifact: Artifact, attempt: str) -> str:
    return f"{artifact.name}/{FOLDER}/failed-{attempt}.json"


def _record(artifact: Artifact, attempt: str, error: SppError) -> None:
    parts = (error.reason, error.detail) if isinstance(error, DataError) else (str(error),)
    artifact.store.create(_record_name(artifact, attempt), encode(_Failure(type(error).__name__, parts)))


def _recorded(artifact: Artifact, attempt: str) -> SppError | None:
    name = _record_name(artifact, attempt)
    if not artifact.store.exists(name):
        return None
    failure = decode(_Failure, artifact.store.read(name), name)
    kind: type[SppError] = getattr(errors, failure.type, IncompleteError)
    return kind(*failure.parts)


@contextmanager
def _cleaning(artifact: Artifact, attempt: str, name: str) -> Iterator[None]:
    """Remove what the attempt leaves, however it ends; where that fails too, the first error is the one that counts."""
    try:
        yield
    except BaseException:
        try:
            _clean(artifact, attempt, name)
        except SppError as second:
            logger.warning("what the training left can't be removed: %s", second)
        raise
    _clean(artifact, attempt, name)


def _clean(artifact: Artifact, attempt: str, name: str) -> None:
    """Remove what the attempt left: its error record and Ray's own storage."""
    artifact.store.delete(_record_name(artifact, attempt))
    for entry in artifact.store.list(f"{_STORAGE}/{name}"):
        artifact.store.delete(entry.name)


def _first_line(error: Exception) -> str:
    """Tell what went wrong at the bottom of Ray's wrappings, in one line."""
    failures = getattr(error, "worker_failures", None)
    inner: BaseException = next(iter(failures.values())) if failures else error
    inner = getattr(inner, "controller_failure", inner)
    inner = getattr(inner, "health_check_failure", inner)
    return one_line(getattr(inner, "_base_exc", inner))
