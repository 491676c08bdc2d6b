"""Running units in this process: for laptops, debuggers and machines without Ray."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence

from pipelines.engine.commits import Commit
from pipelines.engine.executor import Job, Outcome, UnitFailure, WorkQueue, one_line
from pipelines.engine.machine import gpus_for
from pipelines.engine.memory_faults import telling_memory_faults
from pipelines.engine.phases import Needs, Phase
from pipelines.engine.stage import StageSpec
from pipelines.engine.work import build_stage, run_units
from pipelines.training.loop import train_unit
from pipelines.training.workers import LocalWorker
from sppnet.errors import ArtifactError, ConfigError, SppError

logger = logging.getLogger(__name__)


class LocalExecutor:
    """Runs every unit in this process, one after another: for laptops, debuggers and machines without Ray."""

    name = "local"

    def run(self, queue: WorkQueue) -> Generator[tuple[Job, Outcome], None, None]:
        """Run units one by one; see `Executor.run`."""
        for needs in queue.needs():
            _check(needs)
        while (job := queue.take(lambda _: True)) is not None:
            for outcome in self._outcomes(job):
                yield job, outcome

    def _outcomes(self, job: Job) -> Sequence[Outcome]:
        spec = job.phase.spec
        try:
            with gpus_for(job.phase.phase.resources):
                return run_units(spec, job.units)
        except ConfigError:
            raise
        except SppError as error:
            corrupt = isinstance(error, ArtifactError)
            return [UnitFailure(unit, one_line(error), 1, corrupt=corrupt) for unit in job.units]
        except Exception as error:  # the worker boundary: one bad unit must not stop the others
            logger.exception("unit failed step=%s unit=%s", spec.step, job.unit)
            return [UnitFailure(unit, one_line(error), 1) for unit in job.units]

    def train(self, spec: StageSpec, phase: Phase, unit: str) -> Commit:
        """Train with one worker in this process."""
        with gpus_for(phase.resources), telling_memory_faults():
            train_unit(spec, unit, LocalWorker())
        return build_stage(spec).artifact.commit(unit)

    def close(self) -> None:
        """Do nothing: it holds nothing."""


def _check(needs: Needs) -> None:
    """Raise `ConfigError` for GPUs that this machine does not have; one is all that a process takes."""
    wanted = needs.resources.gpus
    if wanted in ("auto", 0):
        return
    import torch

    if not torch.cuda.is_available():
        raise ConfigError(f"step {needs.step}: a unit asks for {wanted:g} GPU, this machine has none; give --gpus 0")
