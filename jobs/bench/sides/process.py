"""One side of `bench pipeline` in a process of its own: `python -m jobs.bench.sides.process`.

A job comes in as JSON, what it took goes out as JSON. What a framework starts before it can take work (a local Ray) is
not in the time; its workers, which load the network, are.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jobs.bench.peers.job import PipelineJob
from jobs.bench.sides import ours
from pipelines.engine.codec import decode
from pipelines.executors.ray_core import RayExecutor


@contextmanager
def ready(job: PipelineJob) -> Iterator[Callable[[], object]]:
    """Start what a side needs and give its work."""
    if job.side == "ours":
        executor = RayExecutor("local", job.workers)
        try:
            if job.warm:
                ours.warm_up(job, executor)
            yield lambda: ours.run(job, executor)
        finally:
            executor.close()
    elif job.side == "ray-data":
        from jobs.bench.peers import on_ray_data

        executor = RayExecutor("local", job.workers + 1)  # a pool of actors and whatever reads for them
        try:
            yield lambda: on_ray_data.run(job)
        finally:
            executor.close()
    elif job.side == "daft":
        from jobs.bench.peers import on_daft

        yield lambda: on_daft.run(job)
    else:
        from jobs.bench.peers.crop_per_window import CropScorer

        yield CropScorer(job).run


def main() -> None:
    """Do the job on standard input; the last line on standard output says what it took."""
    job = decode(PipelineJob, sys.stdin.read(), "the job")
    with ready(job) as work:
        start, cpu = time.perf_counter(), time.process_time()
        work()
        took = {"seconds": time.perf_counter() - start, "driver_cpu_s": time.process_time() - cpu}
    print(json.dumps(took), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
