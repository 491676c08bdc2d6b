"""Running units in this process: for laptops, debuggers and machines without Ray."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from pipelines.engine.executor import UnitFailure, one_line
from pipelines.engine.stage import Phase, StageSpec
from pipelines.engine.work import build_stage, run_unit
from pipelines.engine.workspace import Commit
from pipelines.training.loop import train_unit
from pipelines.training.workers import LocalWorker
from sppnet.errors import ArtifactError, ConfigError, SppError

logger = logging.getLogger(__name__)


class LocalExecutor:
    """Runs every unit in this process, one after another: for laptops, debuggers and machines without Ray."""

    name = "local"

    def run_units(self, spec: StageSpec, phase: Phase, units: Sequence[str]) -> Iterator[Commit | UnitFailure]:
        """Run the units in order; see `Executor.run_units`."""
        for unit in units:
            try:
                yield run_unit(spec, unit)
            except ConfigError:
                raise
            except SppError as error:
                yield UnitFailure(unit, one_line(error), 1, corrupt=isinstance(error, ArtifactError))
            except Exception as error:  # the worker boundary: one bad unit must not stop the others
                logger.exception("unit failed step=%s unit=%s", spec.step, unit)
                yield UnitFailure(unit, one_line(error), 1)

    def train(self, spec: StageSpec, phase: Phase, unit: str) -> Commit:
        """Train with one worker in this process."""
        train_unit(spec, unit, LocalWorker())
        return build_stage(spec).artifact.commit(unit)

    def close(self) -> None:
        """Do nothing: it holds nothing."""
