"""The job on Daft: tars read by a generator, a class of user functions in a process a worker, `write_parquet`.

Daft 0.7.26's own `read_webdataset` waits for ever on two cores: its readers take all threads that they wait for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import daft
from daft import DataType, col

from jobs.bench.peers.job import PipelineJob
from jobs.bench.peers.torch_steps import Convolver, WindowScorer
from pipelines.datasets.tar_samples import image_of, read_samples

BATCH = 4
_KEY: dict[str, Any] = {"key": DataType.string()}
IMAGE = DataType.struct(_KEY | {"jpg": DataType.binary()})
MAP = DataType.struct(
    _KEY | dict.fromkeys(("scale", "height", "width", "channels"), DataType.int64()) | {"data": DataType.binary()}
)
DETECTION = DataType.struct(
    _KEY | {"category": DataType.int64()} | dict.fromkeys(("score", "x0", "y0", "x1", "y1"), DataType.float32())
)


@daft.func(return_dtype=IMAGE, unnest=True)
def read_tar(tar: str) -> Iterator[dict[str, Any]]:
    """Yield the images of a tar."""
    for key, members in read_samples(Path(tar).read_bytes(), tar).items():
        yield {"key": key, "jpg": image_of(key, members).data}


class MakeMaps:
    """A process that turns batches of images into maps."""

    def __init__(self, job: PipelineJob) -> None:
        self.make = Convolver(job).map_rows

    @daft.method.batch(return_dtype=DataType.list(MAP), batch_size=BATCH)
    def rows(self, keys: daft.Series, images: daft.Series) -> list[Any]:
        """Return a batch's rows, image by image."""
        return [self.make(*pair) for pair in zip(keys.to_pylist(), images.to_pylist(), strict=True)]


class MakeDetections:
    """A process that turns batches of images into detections."""

    def __init__(self, job: PipelineJob) -> None:
        self.make = WindowScorer(job).detections

    @daft.method.batch(return_dtype=DataType.list(DETECTION), batch_size=BATCH)
    def rows(self, keys: daft.Series, images: daft.Series) -> list[Any]:
        """Return a batch's rows, image by image."""
        return [self.make(*pair) for pair in zip(keys.to_pylist(), images.to_pylist(), strict=True)]


def run(job: PipelineJob) -> None:
    """Do the job in this process and a process a worker; Daft's own runner needs no cluster."""
    tars = daft.from_pydict({"tar": sorted(map(str, Path(job.tars).glob("*.tar")))})
    images = tars.select(read_tar(col("tar")))
    make = daft.cls(MakeMaps if job.task == "maps" else MakeDetections, max_concurrency=job.workers, use_process=True)
    made = images.select(make(job).rows(col("key"), col("jpg")).alias("row")).explode("row")
    made.select(col("row").unnest()).write_parquet(job.out, compression="zstd")
