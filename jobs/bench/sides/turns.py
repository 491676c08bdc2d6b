"""One turn of a side of `bench pipeline` or `bench scale`: the job in a process of its own, and what it took."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jobs.bench.peers.job import PipelineJob
from jobs.bench.sides import ours
from jobs.bench.sides.watched import run_watched
from pipelines.engine.codec import encode
from pipelines.executors.ray_environment import thread_variables, worker_variables

_SIDE = "jobs.bench.sides.process"


@dataclass(frozen=True, slots=True)
class Turn:
    """What a job took.

    Attributes:
        seconds: The whole job.
        driver_cpu_s: CPU time of the process that drove it.
        cpu_s: CPU time of all its processes, from their start on.
        peak_mb: Most memory of all its processes.
        written_mb: Bytes of the files that it left.
    """

    seconds: float
    driver_cpu_s: float
    cpu_s: float
    peak_mb: float
    written_mb: float


def take_turn(job: PipelineJob) -> Turn:
    """Do a job in a process of its own; what it made stays in its folder."""
    Path(job.out).mkdir()
    if job.side == "ours":
        ours.prepare(job)
    before = _bytes(job.out)
    variables = {**worker_variables(), **thread_variables(1), "DO_NOT_TRACK": "1"}
    took = run_watched(_SIDE, encode(job), variables)
    return Turn(**took, written_mb=(_bytes(job.out) - before) / 1e6)


def _bytes(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
