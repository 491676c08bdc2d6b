"""One unit of work, wherever it runs: the stage is built from its spec, runs, and what it gives is committed."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from pipelines.engine.commits import Commit
from pipelines.engine.disk_faults import telling_disk_faults
from pipelines.engine.memory_faults import telling_memory_faults
from pipelines.engine.registry import stage_type
from pipelines.engine.stage import Stage, StageSpec
from sppnet.errors import ConfigError
from sppnet.own_parts import allow_same

_PUBLISHERS = 4


def build_stage(spec: StageSpec) -> Stage[Any]:
    """Build the stage that a spec describes; raise `ConfigError` where the run's own parts are others here."""
    for part in spec.own:
        try:
            allow_same(part)
        except ConfigError as error:
            raise ConfigError(
                f"step {spec.step} on {socket.gethostname()}: {error}; workers need what the run was started with"
            ) from error
    raw = json.loads(spec.config)
    kind = stage_type(raw["stage"])
    return kind(kind.config_type.model_validate(raw), spec)


# Units of several steps come by turns: each step's model must be there when the next of its units comes.
@lru_cache(maxsize=8)
def cached_stage(spec: StageSpec) -> Stage[Any]:
    """Build a stage once per process, so that its model is loaded once however many units follow."""
    return build_stage(spec)


def run_unit(spec: StageSpec, unit: str) -> Commit:
    """Run one unit and commit it. The same on Ray and in-process."""
    stage = cached_stage(spec)
    start = time.perf_counter()
    output = stage.run(unit)
    return stage.artifact.publish(unit, output, time.perf_counter() - start)


def run_units(spec: StageSpec, units: Sequence[str]) -> tuple[Commit, ...]:
    """Run the units of a job, mostly one, and commit them; several are made together.

    Raises:
        ConfigError: Also for a disk that can't be written.
        MemoryRanOutError: Memory ran out, the machine's or a GPU's.
    """
    with telling_memory_faults(), telling_disk_faults():
        return _run_units(spec, units)


def _run_units(spec: StageSpec, units: Sequence[str]) -> tuple[Commit, ...]:
    if len(units) == 1:
        return (run_unit(spec, units[0]),)
    stage = cached_stage(spec)
    start = time.perf_counter()
    outputs = stage.run_together(units)
    seconds = time.perf_counter() - start

    def publish(unit: str) -> Commit:
        return stage.artifact.publish(unit, outputs[unit], seconds * outputs[unit].share)

    with ThreadPoolExecutor(_PUBLISHERS, thread_name_prefix="publish") as pool:
        return tuple(pool.map(publish, units))
