"""The job on Ray Data: `read_webdataset`, a pool of actors that load the network once, `write_parquet`."""

from __future__ import annotations

from typing import Any

from jobs.bench.peers.job import PipelineJob
from jobs.bench.peers.torch_steps import Convolver, WindowScorer

BATCH = 4


class MakeMaps:
    """An actor that turns batches of images into maps."""

    def __init__(self, job: PipelineJob) -> None:
        self.make = Convolver(job).map_rows

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a table's columns of all rows of a batch."""
        rows = [row for pair in zip(batch["__key__"], batch["jpg"], strict=True) for row in self.make(*pair)]
        return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


class MakeDetections(MakeMaps):
    """An actor that turns batches of images into detections."""

    def __init__(self, job: PipelineJob) -> None:
        self.make = WindowScorer(job).detections


def run(job: PipelineJob) -> None:
    """Do the job on the Ray that is connected; it needs a CPU more than there are actors, or it waits for ever."""
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False
    images = ray.data.read_webdataset(job.tars, decoder=None, suffixes=["jpg"])
    made = images.map_batches(
        MakeMaps if job.task == "maps" else MakeDetections,
        fn_constructor_args=(job,),
        batch_size=BATCH,
        compute=ray.data.ActorPoolStrategy(size=job.workers),
        num_cpus=1,
    )
    made.write_parquet(job.out, compression="zstd")
